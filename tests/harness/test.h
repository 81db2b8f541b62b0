/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The test harness: each CF_TEST runs in a process of its own under cmocka, with a timeout and a
 * count of open file descriptors; a leaked fd fails the test.
 *
 *   CF_TEST(noun_does_this_and_that) { EXPECT(x == 1); }
 *
 * Run one alone: build/dev/tests/unit_base_bytes_test NAME. A test that cannot run here calls
 * SKIP("reason"); a program whose tests all skipped exits 77, which CTest shows as skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

struct cf_test {
	const char *name;
	const char *file;
	int line;
	void (*fn)(void **state);
	struct cf_test *next;
};

void cf_test_register(struct cf_test *t);

#define CF_TEST(test_name)                                                                         \
	static void test_name(void **cf_state_);                                                   \
	static struct cf_test cf_reg_##test_name = { #test_name, __FILE__, __LINE__, test_name,    \
		                                     NULL };                                       \
	__attribute__((constructor)) static void cf_ctor_##test_name(void)                         \
	{                                                                                          \
		cf_test_register(&cf_reg_##test_name);                                             \
	}                                                                                          \
	static void test_name(void **cf_state_ __attribute__((unused)))

#define EXPECT(cond) _assert_true((uintptr_t)(cond), #cond, __FILE__, __LINE__)
#define EXPECT_STR(a, b)                                                                           \
	_assert_string_equal((const char *)(a), (const char *)(b), __FILE__, __LINE__)
#define EXPECT_INT(a, b)                                                                           \
	_assert_int_equal((uintmax_t)(intmax_t)(a), (uintmax_t)(intmax_t)(b), __FILE__, __LINE__)
/* r < 0 with this code, message shown otherwise */
#define EXPECT_FAILS(expr, want) cf_test_expect_fails((expr), (want), #expr, __FILE__, __LINE__)
/* r == 0, the error's message shown otherwise */
#define EXPECT_OK(expr, errp) cf_test_expect_ok((expr), (errp), #expr, __FILE__, __LINE__)
/* Ends the test. What it holds is not looked for: nothing waits for the end of a scope. */
#define SKIP(reason) cf_test_skip(reason)
void cf_test_skip(const char *reason);

void cf_test_expect_fails(int r, enum cf_code want, const char *expr, const char *file, int line);
void cf_test_expect_ok(int r, const struct cf_err *err, const char *expr, const char *file,
                       int line);

/*
 * A path below COFFER_VECTORS (default: ../shared/vectors beside the source tree). Skips the test,
 * loudly, when it is not there. The caller frees.
 */
char *cf_test_vector(const char *rel);
/* A path below the source tree. The caller frees. */
char *cf_test_source(const char *rel);
/* The path of a program that this build made. The caller frees. */
char *cf_test_bin(const char *name);
/* A fresh directory of this test, removed when the test ends. The caller frees. */
char *cf_test_tmpdir(void);
/* For a library that keeps @count descriptors for the life of the process (gRPC core: 2). */
void cf_test_library_keeps_fds(int count);
/* The whole file, NUL-terminated; fails the test when it cannot be read. */
struct cf_buf cf_test_read(const char *path);
