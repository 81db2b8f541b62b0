/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * coffer image layer TAR[.gz|.zst] --out IMG.erofs: builds an EROFS image from one layer. Runs
 * coffer-imaged, found beside this program and then on PATH; its exit code is ours.
 */
int cli_image_layer(int argc, char **argv);
