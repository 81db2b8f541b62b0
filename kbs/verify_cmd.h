/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * `coffer-kbs verify`: one verdict over evidence in a file, by the code that the service uses, with
 * no service, no network and no clock but the certificates' dates.
 */

/* argv[0] is "verify". Returns the exit code: 0 genuine (and approved, where reference values were
   given), 2 usage, 3 the answer is no, 4 no such file, 9 malformed, 21 no verifier for that TEE. */
int verify_cmd(int argc, char **argv);
