/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Commands about images and their keys; each in cli/NOUN_cmd.c. */

int cli_image_encrypt(int argc, char **argv);
int cli_image_inspect(int argc, char **argv);
int cli_image_pull(int argc, char **argv);
int cli_image_push(int argc, char **argv);
int cli_image_sign(int argc, char **argv);
int cli_image_verify(int argc, char **argv);
int cli_key_new(int argc, char **argv);
