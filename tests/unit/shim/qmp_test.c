/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/qmp.h"

#include "base/fd.h"
#include "tests/harness/test.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
	const char *line;
	enum qmp_kind kind;
	uint64_t id;
} good[] = {
	{ "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}},\"capabilities\":[\"oob\"]}}\r",
	  QMP_GREETING, 0 },
	{ "{\"return\":{},\"id\":7}", QMP_RETURN, 7 },
	{ "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":8}", QMP_ERROR, 8 },
	{ "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true}}", QMP_EVENT, 0 },
};

static const char *const refused[] = {
	"",                             /* empty */
	"[]",                           /* not an object */
	"{}",                           /* says nothing */
	"{\"return\":{}",               /* cut */
	"{\"return\":{},\"id\":\"x\"}", /* not our id */
	"{\"event\":\"a\\u0000b\"}",    /* a NUL inside */
};

CF_TEST(qmp_parser_knows_the_four_messages)
{
	struct qmp_message m;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(good); i++) {
		EXPECT_OK(qmp_parse(cf_view_str(good[i].line), &m, &err), &err);
		EXPECT(m.kind == good[i].kind && m.id == good[i].id);
		qmp_message_fini(&m);
		for (size_t n = 0; n + 1 < strlen(good[i].line); n++)
			EXPECT(qmp_parse(cf_view(good[i].line, n), &m, &err) < 0);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++)
		EXPECT_FAILS(qmp_parse(cf_view_str(refused[i]), &m, &err), CF_INVALID_ARGUMENT);
}

/* A QEMU that greets and then answers each line with the next of its answers. */
struct fake {
	int listener;
	const char *const *answers;
};

static void *fake_run(void *arg)
{
	struct fake *f = arg;
	int fd = accept(f->listener, NULL, NULL);
	char buf[4096];

	(void)!write(fd, "{\"QMP\":{}}\r\n", 12);
	for (size_t i = 0; f->answers[i]; i++) {
		if (read(fd, buf, sizeof(buf)) <= 0)
			break;
		(void)!write(fd, f->answers[i], strlen(f->answers[i]));
	}
	close(fd);
	return NULL;
}

static int talk(const char *const *answers, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/q", dir);
	struct fake f = { .answers = answers };
	struct qmp *q = NULL;
	pthread_t thread;
	int r;

	f.listener = cf_listen_unix(path, err);
	EXPECT(f.listener >= 0);
	cf_set_nonblock(f.listener, false);
	pthread_create(&thread, NULL, fake_run, &f);
	r = qmp_open(path, 5000, &q, err);
	if (r == 0)
		r = qmp_call(q, "query-status", NULL, ret, err);
	qmp_close(q);
	pthread_join(thread, NULL);
	close(f.listener);
	return r;
}

CF_TEST(qmp_client_negotiates_and_passes_over_events)
{
	static const char *const fine[] = { "{\"return\":{},\"id\":1}\r\n",
		                            "{\"event\":\"RESUME\"}\r\n{\"return\":{\"status\":"
		                            "\"running\"},\"id\":2}\r\n",
		                            NULL };
	static const char *const failing[] = { "{\"return\":{},\"id\":1}\r\n",
		                               "{\"error\":{\"desc\":\"nope\"},\"id\":2}\r\n",
		                               NULL };
	static const char *const dying[] = { "{\"return\":{},\"id\":1}\r\n",
		                             "{\"event\":\"GUEST_PANICKED\"}\r\n", NULL };
	static const char *const gone[] = { "{\"return\":{},\"id\":1}\r\n", "", NULL };
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(talk(fine, &out, &err), &err);
	EXPECT(strstr((char *)out.data, "running"));
	cf_buf_fini(&out);
	EXPECT_FAILS(talk(failing, NULL, &err), CF_ABORTED);
	EXPECT(strstr(err.msg, "nope"));
	EXPECT_FAILS(talk(dying, NULL, &err), CF_UNAVAILABLE);
	EXPECT_FAILS(talk(gone, NULL, &err), CF_UNAVAILABLE);
}
