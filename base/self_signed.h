/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A self-signed server certificate: for a service that its clients pin, and for tests.
 */
#include "base/crypto.h"
#include "base/str.h"

/**
 * cf_self_signed() - certificate over @key's public part
 * @key:   private key
 * @cn:    common name
 * @names: "DNS:kbs.example", "IP:127.0.0.1", …; at least one
 * @days:  validity from an hour ago on
 * @ret:   PEM is appended
 *
 * It is a CA of path length 0 as well, so that it can be its clients' trust anchor.
 * Return: 0, -CF_INVALID_ARGUMENT (a malformed name), -CF_INTERNAL.
 */
cf_must_use int cf_self_signed(const struct cf_pkey *key, const char *cn,
                               const struct cf_strv *names, unsigned days, struct cf_buf *ret,
                               struct cf_err *err);
