/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * `coffer-kbs init DIR`: configuration, TLS key and certificate, admin key and token.
 * `coffer-kbs call --config FILE METHOD PATH`: one administrative call on the service's own files,
 * without a server and without a token: whoever can read the state directory is the owner.
 */

int init_cmd(int argc, char **argv);
int call_cmd(int argc, char **argv);
