/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Commands about images and their keys; each in cli/NOUN_cmd.c. */

int cli_image_pull(int argc, char **argv);
