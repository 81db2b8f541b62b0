/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "kbs/session.h"

CF_TEST(session_ids_and_nonces_are_fresh_and_found_again)
{
	struct sessions *t = sessions_new(10, 60000);
	struct session *a = sessions_add(t), *b = sessions_add(t);

	EXPECT_INT(strlen(a->id), 32);
	EXPECT_INT(strlen(a->nonce), 44);
	EXPECT(strcmp(a->id, b->id) && strcmp(a->nonce, b->nonce));
	EXPECT(sessions_find(t, cf_view_str(a->id)) == a);
	EXPECT(!sessions_find(t, cf_view_str("")));
	EXPECT(!sessions_find(t, cf_view(a->id, 31)));
	sessions_remove(t, a);
	EXPECT_INT(sessions_count(t), 1);
	EXPECT(sessions_find(t, cf_view_str(b->id)) == b);
	sessions_free(t);
}

CF_TEST(session_table_drops_the_oldest_unfinished_one_when_full)
{
	struct sessions *t = sessions_new(3, 60000);
	struct session *first = sessions_add(t), *second = sessions_add(t);
	char id[SESSION_ID_SIZE];

	first->state = SESSION_ATTESTED;
	memcpy(id, second->id, sizeof(id));
	sessions_add(t);
	sessions_add(t); /* the fourth */
	EXPECT_INT(sessions_count(t), 3);
	EXPECT(!sessions_find(t, cf_view_str(id)));
	EXPECT(sessions_find(t, cf_view_str(first->id)) == first);
	for (int i = 0; i < 10000; i++)
		sessions_add(t);
	EXPECT_INT(sessions_count(t), 3);
	sessions_free(t);
}

CF_TEST(session_lives_no_longer_than_it_may)
{
	struct sessions *t = sessions_new(3, 0);
	struct session *s = sessions_add(t);
	char id[SESSION_ID_SIZE];

	memcpy(id, s->id, sizeof(id));
	EXPECT(!sessions_find(t, cf_view_str(id)));
	EXPECT_INT(sessions_count(t), 0);
	sessions_add(t);
	sessions_sweep(t);
	EXPECT_INT(sessions_count(t), 0);
	sessions_free(t);
}

CF_TEST(session_rate_is_limited_per_address)
{
	struct rate_limit *r = rate_limit_new(1, 5);
	int taken = 0;

	while (taken < 100 && rate_limit_take(r, "192.0.2.1"))
		taken++;
	EXPECT(taken >= 5 && taken <= 6); /* a second may pass while we count */
	EXPECT(rate_limit_take(r, "192.0.2.2"));
	rate_limit_free(r);
}
