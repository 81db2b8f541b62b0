/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For layer.sh: asks a coffer-imaged for an image, as coffer-init does, and prints the seconds until
 * its rootfs was mounted.
 *
 *   layer_pull unix:///…/cdh.sock IMAGE BUNDLE
 */
#include "proto/cdh.pb-c.h"
#include "proto/ttrpc.h"

#include <stdio.h>
#include <time.h>

#define TIMEOUT_MS 600000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	Api__ImagePullRequest req = API__IMAGE_PULL_REQUEST__INIT;
	ProtobufCMessage *resp = NULL;
	struct ttrpc_client *client = NULL;
	struct ttrpc_req call = { .service = "api.ImagePullService",
		                  .method = "PullImage",
		                  .msg = &req.base,
		                  .out = &api__image_pull_response__descriptor,
		                  .timeout_ms = TIMEOUT_MS };
	struct cf_err err = { 0 };
	double from;
	int r;

	if (argc != 4) {
		fputs("usage: layer_pull ADDRESS IMAGE BUNDLE\n", stderr);
		return 2;
	}
	req.image_url = argv[2];
	req.bundle_path = argv[3];
	r = ttrpc_client_dial(argv[1], TIMEOUT_MS, &(struct ttrpc_client_opts){ 0 }, &client, &err);
	from = now();
	if (r == 0)
		r = ttrpc_call(client, &call, &resp, &err);
	if (r == 0)
		printf("%.3f\n", now() - from);
	else
		fprintf(stderr, "%s\n", err.msg);
	if (resp)
		protobuf_c_message_free_unpacked(resp, NULL);
	ttrpc_client_free(client);
	return r < 0;
}
