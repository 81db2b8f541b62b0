/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/pcr_extend.h"

#include "base/fd.h"

#include <errno.h>
#include <unistd.h>

#define TPM_ST_SESSIONS    0x8002u
#define TPM_CC_PCR_EXTEND  0x00000182u
#define TPM_RS_PW          0x40000009u
#define TPM_ALG_SHA256     0x000bu
#define COMMAND_BYTES      65u /* header 10, handle 4, size 4, session 9, count 4, alg 2, digest 32 */
#define RESPONSE_BYTES_MIN 10u

void pcr_extend_command(unsigned pcr, const uint8_t sha256[32], struct cf_buf *out)
{
	cf_buf_add_u16be(out, TPM_ST_SESSIONS);
	cf_buf_add_u32be(out, COMMAND_BYTES);
	cf_buf_add_u32be(out, TPM_CC_PCR_EXTEND);
	cf_buf_add_u32be(out, pcr); /* handle of a PCR is its number */
	cf_buf_add_u32be(out, 9);   /* size of the authorisation area */
	cf_buf_add_u32be(out, TPM_RS_PW);
	cf_buf_add_u16be(out, 0); /* nonce */
	cf_buf_add_byte(out, 0);  /* attributes */
	cf_buf_add_u16be(out, 0); /* password: PCRs have none */
	cf_buf_add_u32be(out, 1); /* one digest */
	cf_buf_add_u16be(out, TPM_ALG_SHA256);
	cf_buf_add(out, sha256, 32);
}

int pcr_extend_response(struct cf_view in, struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	uint32_t size, code;

	(void)cf_rd_u16be(&rd);
	size = cf_rd_u32be(&rd);
	code = cf_rd_u32be(&rd);
	if (rd.bad || size != in.size || size < RESPONSE_BYTES_MIN)
		return cf_fail(err, CF_DATA_LOSS, "TPM: %zu bytes are no response", in.size);
	if (code)
		return cf_fail(err, CF_ABORTED, "TPM2_PCR_Extend: response code 0x%03x", code);
	return 0;
}

int pcr_extend(const char *device, unsigned pcr, const uint8_t sha256[32], struct cf_err *err)
{
	struct cf_buf command = { .max = 256 };
	uint8_t answer[PCR_RESPONSE_MAX];
	cf_cleanup(cf_closep) int fd = open(device, O_RDWR | O_CLOEXEC);
	ssize_t n;
	int r;

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", device);
	pcr_extend_command(pcr, sha256, &command);
	/* The device takes a command in one write and gives the answer in one read. */
	do {
		n = write(fd, command.data, command.size);
	} while (n < 0 && errno == EINTR);
	r = n == (ssize_t)command.size ? 0 : cf_fail_errno(err, n < 0 ? errno : EIO, "%s", device);
	cf_buf_fini(&command);
	if (r < 0)
		return r;
	do {
		n = read(fd, answer, sizeof(answer));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return cf_fail_errno(err, errno, "%s", device);
	return pcr_extend_response(cf_view(answer, (size_t)n), err);
}
