/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/events.h"

#include "base/log.h"
#include "base/str.h"
#include "proto/containerd_ttrpc_events.pb-c.h"
#include "proto/ttrpc.h"

#include <time.h>

#define CALL_TIMEOUT_MS 5000
#define DIAL_TIMEOUT_MS 100
#define RETRY_STEP_MS   1000

typedef Containerd__Services__Events__Ttrpc__V1__Envelope envelope_msg;
typedef Containerd__Services__Events__Ttrpc__V1__ForwardRequest forward_msg;

struct event {
	struct event *next;
	char *topic;
	const char *type; /* static: the message's name */
	struct cf_buf value;
	struct timespec at;
	unsigned tries;
};

struct events {
	struct cf_loop *loop;
	char *address, *ns;
	struct ttrpc_client *client;
	struct cf_event *retry;
	struct event *head, **tail;
	size_t count;
	bool is_sending, is_freed;
};

static void send_next(struct events *e);

struct events *events_new(struct cf_loop *loop, const char *address, const char *ns)
{
	struct events *e = cf_zalloc(sizeof(*e));

	e->loop = loop;
	e->address = cf_strdup(address);
	e->ns = cf_strdup(ns);
	e->tail = &e->head;
	return e;
}

static void event_free(struct event *ev)
{
	cf_buf_fini(&ev->value);
	free(ev->topic);
	free(ev);
}

static void pop(struct events *e)
{
	struct event *ev = e->head;

	e->head = ev->next;
	if (!e->head)
		e->tail = &e->head;
	e->count--;
	event_free(ev);
}

struct events *events_free(struct events *e)
{
	if (!e)
		return NULL;
	e->is_freed = true; /* the answer to a call in flight must not send the next */
	ttrpc_client_free(e->client);
	cf_event_free(e->retry);
	while (e->head)
		pop(e);
	free(e->address);
	free(e->ns);
	free(e);
	return NULL;
}

bool events_is_idle(const struct events *e)
{
	return !e->head;
}

static void on_retry(void *arg)
{
	struct events *e = arg;

	e->retry = cf_event_free(e->retry);
	send_next(e);
}

/* Posted: the client is not freed inside its own callback. */
static void drop_client(void *arg)
{
	ttrpc_client_free(arg);
}

static void failed(struct events *e, const struct cf_err *err)
{
	struct event *ev = e->head;

	e->is_sending = false;
	if (e->client)
		cf_loop_post(e->loop, drop_client, cf_take(&e->client));
	if (++ev->tries < EVENTS_TRIES_MAX) {
		e->retry = cf_loop_timer(e->loop, RETRY_STEP_MS * ev->tries, false, on_retry, e);
		return;
	}
	cf_log_warn("event dropped", CF_F_STR("topic", ev->topic), CF_F_STR("error", err->msg));
	pop(e);
	send_next(e);
}

static void on_answer(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct events *e = user;

	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	if (e->is_freed)
		return;
	if (r < 0) {
		failed(e, err);
		return;
	}
	e->is_sending = false;
	pop(e);
	send_next(e);
}

static int forward(struct events *e, const struct event *ev, struct cf_err *err)
{
	static char meta_key[] = "containerd-namespace-ttrpc";
	forward_msg req = CONTAINERD__SERVICES__EVENTS__TTRPC__V1__FORWARD_REQUEST__INIT;
	envelope_msg env = CONTAINERD__SERVICES__EVENTS__TTRPC__V1__ENVELOPE__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	cf_cleanup(cf_freep) char *type = cf_strdup(ev->type);
	struct ttrpc_meta meta = { .key = meta_key, .value = e->ns };
	struct ttrpc_req call = { .service = "containerd.services.events.ttrpc.v1.Events",
		                  .method = "Forward",
		                  .msg = &req.base,
		                  .out = &google__protobuf__empty__descriptor,
		                  .timeout_ms = CALL_TIMEOUT_MS,
		                  .meta = &meta,
		                  .meta_count = 1 };

	at.seconds = ev->at.tv_sec;
	at.nanos = (int32_t)ev->at.tv_nsec;
	any.type_url = type;
	any.value.data = ev->value.data;
	any.value.len = ev->value.size;
	env.timestamp = &at;
	env.namespace_ = e->ns;
	env.topic = ev->topic;
	env.event = &any;
	req.envelope = &env;
	return ttrpc_start(e->client, &call, on_answer, e, err);
}

static void send_next(struct events *e)
{
	struct ttrpc_client_opts opts = { .loop = e->loop };
	struct cf_err err;
	int r = 0;

	if (!e->head || e->is_sending || e->retry)
		return;
	e->is_sending = true;
	if (!e->client)
		r = ttrpc_client_dial(e->address, DIAL_TIMEOUT_MS, &opts, &e->client, &err);
	if (r == 0)
		r = forward(e, e->head, &err);
	if (r < 0)
		failed(e, &err);
}

void events_publish(struct events *e, const char *topic, const ProtobufCMessage *msg)
{
	struct event *ev;
	uint8_t *at;

	if (!e->address)
		return;
	if (e->count >= EVENTS_QUEUE_MAX) {
		cf_log_warn("event dropped: queue full", CF_F_STR("topic", topic));
		return;
	}
	ev = cf_zalloc(sizeof(*ev));
	ev->topic = cf_strdup(topic);
	ev->type = msg->descriptor->name;
	clock_gettime(CLOCK_REALTIME, &ev->at);
	at = cf_buf_reserve(&ev->value, protobuf_c_message_get_packed_size(msg));
	if (at)
		ev->value.size += protobuf_c_message_pack(msg, at);
	*e->tail = ev;
	e->tail = &ev->next;
	e->count++;
	send_next(e);
}
