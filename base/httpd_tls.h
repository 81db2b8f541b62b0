/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * TLS for the HTTP server, apart from it so that a program which serves none does not load OpenSSL's
 * TLS. Used on the loop's thread.
 */
#include "base/httpd.h"

/* Reads certificate chain and key, PEM files. -CF_INVALID_ARGUMENT: they do not serve. */
cf_must_use int cf_httpd_tls_new(const char *cert_path, const char *key_path,
                                 struct cf_httpd_tls **ret, struct cf_err *err);
/* After the servers that use it. */
struct cf_httpd_tls *cf_httpd_tls_free(struct cf_httpd_tls *tls);
CF_DEFINE_CLEANUP(struct cf_httpd_tls *, cf_httpd_tls_free);
/* Reads both files again, for new connections. On failure the old ones stay. */
cf_must_use int cf_httpd_tls_reload(struct cf_httpd_tls *tls, struct cf_err *err);
