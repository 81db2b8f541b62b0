/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * coffer-imaged --oneshot layer: one layer blob into one EROFS image, without daemon or network.
 *
 *   layer TAR[.gz|.zst]|- --out IMG.erofs [--diff-id DIGEST] [--strict] [--no-sync] [--json]
 *
 * Exit codes are those of the coffer command: 0 done, 2 usage, 4 no such file, 7 a sandboxed process
 * was caught, 9 bad data or another diffID, 20 a limit was reached or the disk is full, 1 anything else.
 */

/* argv[0] is "layer". */
int imaged_oneshot_layer(int argc, char **argv);
