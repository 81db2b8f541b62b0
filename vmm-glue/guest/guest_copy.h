/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * CopyFile: files of ConfigMaps, Secrets and the like come piece by piece into the share. Every path
 * is resolved inside the share, no link is followed, so that nothing a link names outside it can be
 * written (CVE-2026-41326).
 */
#include "base/err.h"
#include "proto/agent.pb-c.h"

/* @share: the share's directory here. */
cf_must_use int guest_copy_file(const char *share, const Grpc__CopyFileRequest *req,
                                struct cf_err *err);
