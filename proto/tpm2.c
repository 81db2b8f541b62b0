/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/tpm2.h"

#include "base/secret.h"

#define ATTEST_MAGIC  0xff544347u
#define ATTEST_QUOTE  0x8018u
#define PCR_BYTES_MAX 4u
#define EXPONENT_F4   65537u
#define RSA_BITS_MIN  2048u
#define RSA_BITS_MAX  4096u

static struct cf_view read_tpm2b(struct cf_rd *rd)
{
	return cf_rd_bytes(rd, cf_rd_u16be(rd));
}

/* ---- public areas ---- */

static void read_symmetric(struct cf_rd *rd, struct tpm2_public *pub)
{
	pub->symmetric = cf_rd_u16be(rd);
	if (pub->symmetric != TPM2_ALG_NULL)
		cf_rd_skip(rd, 4); /* key bits, mode */
}

/* Schemes with a hash, as Part 2 tables "TPMU_ASYM_SCHEME" list them. */
static bool scheme_has_hash(uint16_t scheme)
{
	return scheme == TPM2_ALG_RSASSA || scheme == 0x0016 || scheme == 0x0017 ||
	       (scheme >= TPM2_ALG_ECDSA && scheme <= 0x001d);
}

static void read_scheme(struct cf_rd *rd, struct tpm2_public *pub)
{
	pub->scheme = cf_rd_u16be(rd);
	if (scheme_has_hash(pub->scheme))
		pub->scheme_hash = cf_rd_u16be(rd);
	if (pub->scheme == 0x001a) /* ECDAA: a counter too */
		cf_rd_skip(rd, 2);
}

static void read_rsa(struct cf_rd *rd, struct tpm2_public *pub)
{
	pub->key_bits = cf_rd_u16be(rd);
	pub->exponent = cf_rd_u32be(rd);
	if (pub->exponent == 0)
		pub->exponent = EXPONENT_F4;
	pub->x = read_tpm2b(rd);
}

static void read_ecc(struct cf_rd *rd, struct tpm2_public *pub)
{
	pub->curve = cf_rd_u16be(rd);
	pub->kdf = cf_rd_u16be(rd);
	if (pub->kdf != TPM2_ALG_NULL)
		cf_rd_skip(rd, 2);
	pub->x = read_tpm2b(rd);
	pub->y = read_tpm2b(rd);
}

int tpm2_public_parse(struct cf_view tpm2b, struct tpm2_public *ret, struct cf_err *err)
{
	struct cf_rd outer = { .in = tpm2b };
	struct tpm2_public pub = { .tpmt = read_tpm2b(&outer) };
	struct cf_rd rd = { .in = pub.tpmt };

	if (outer.bad || cf_rd_left(&outer) || tpm2b.size > TPM2_PUBLIC_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM2B_PUBLIC: wrong size (%zu bytes)",
		               tpm2b.size);
	pub.type = cf_rd_u16be(&rd);
	pub.name_alg = cf_rd_u16be(&rd);
	pub.attributes = cf_rd_u32be(&rd);
	pub.auth_policy = read_tpm2b(&rd);
	if (pub.type != TPM2_ALG_RSA && pub.type != TPM2_ALG_ECC)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM2B_PUBLIC: object type 0x%04x",
		               pub.type);
	read_symmetric(&rd, &pub);
	read_scheme(&rd, &pub);
	if (pub.type == TPM2_ALG_RSA)
		read_rsa(&rd, &pub);
	else
		read_ecc(&rd, &pub);
	if (rd.bad || cf_rd_left(&rd))
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM2B_PUBLIC: malformed");
	*ret = pub;
	return 0;
}

static int ec_kind(uint16_t curve)
{
	if (curve == TPM2_CURVE_P256)
		return CF_PKEY_EC_P256;
	return curve == TPM2_CURVE_P384 ? (int)CF_PKEY_EC_P384 : -1;
}

int tpm2_public_key(const struct tpm2_public *pub, struct cf_pkey **ret, struct cf_err *err)
{
	uint8_t e[4] = { (uint8_t)(pub->exponent >> 24), (uint8_t)(pub->exponent >> 16),
		         (uint8_t)(pub->exponent >> 8), (uint8_t)pub->exponent };
	int kind = ec_kind(pub->curve);

	if (pub->type == TPM2_ALG_RSA) {
		if (pub->key_bits < RSA_BITS_MIN || pub->key_bits > RSA_BITS_MAX ||
		    pub->x.size * 8 != pub->key_bits)
			return cf_fail(err, CF_INVALID_ARGUMENT, "TPM key: RSA of %u bits",
			               pub->key_bits);
		return cf_pkey_from_rsa(pub->x, cf_view(e, sizeof(e)), ret, err);
	}
	if (kind < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM key: curve 0x%04x", pub->curve);
	return cf_pkey_from_ec((enum cf_pkey_kind)kind, pub->x, pub->y, (struct cf_view){ 0 }, ret,
	                       err);
}

int tpm2_name(const struct tpm2_public *pub, uint8_t ret[TPM2_NAME_SIZE], struct cf_err *err)
{
	if (pub->name_alg != TPM2_ALG_SHA256)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM key: name algorithm 0x%04x",
		               pub->name_alg);
	ret[0] = TPM2_ALG_SHA256 >> 8;
	ret[1] = TPM2_ALG_SHA256 & 0xff;
	cf_sha256(pub->tpmt, ret + 2);
	return 0;
}

#define AK_ATTRIBUTES                                                                              \
	(TPM2_OBJ_FIXED_TPM | TPM2_OBJ_FIXED_PARENT | TPM2_OBJ_SENSITIVE_DATA_ORIGIN |             \
	 TPM2_OBJ_USER_WITH_AUTH | TPM2_OBJ_NO_DA | TPM2_OBJ_RESTRICTED | TPM2_OBJ_SIGN)

static const char *attestation_key_fault(const struct tpm2_public *pub)
{
	static const struct {
		uint32_t bit;
		const char *fault;
	} must[] = {
		{ TPM2_OBJ_FIXED_TPM, "fixedTPM is clear: the key could leave the TPM" },
		{ TPM2_OBJ_FIXED_PARENT, "fixedParent is clear: the key could be moved" },
		{ TPM2_OBJ_SENSITIVE_DATA_ORIGIN,
		  "sensitiveDataOrigin is clear: the key was made outside the TPM" },
		{ TPM2_OBJ_RESTRICTED, "restricted is clear: the key signs anything it is given" },
		{ TPM2_OBJ_SIGN, "sign is clear: the key does not sign" },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(must); i++)
		if (!(pub->attributes & must[i].bit))
			return must[i].fault;
	if (pub->attributes & TPM2_OBJ_DECRYPT)
		return "decrypt is set: a storage key";
	if (!(pub->attributes & TPM2_OBJ_USER_WITH_AUTH) || (pub->attributes & ~AK_ATTRIBUTES))
		return "it has other attributes than an attestation key's";
	if (pub->auth_policy.size)
		return "it has an authorisation policy";
	if (pub->symmetric != TPM2_ALG_NULL ||
	    (pub->type == TPM2_ALG_ECC && pub->kdf != TPM2_ALG_NULL))
		return "it is more than a signing key";
	if (pub->name_alg != TPM2_ALG_SHA256)
		return "its name is not SHA-256";
	if (pub->scheme_hash != TPM2_ALG_SHA256)
		return "its signing scheme is not fixed to SHA-256";
	if (pub->type == TPM2_ALG_RSA)
		return pub->scheme == TPM2_ALG_RSASSA && pub->key_bits >= RSA_BITS_MIN
		               ? NULL
		               : "its scheme is not RSASSA with at least 2048 bits";
	return pub->scheme == TPM2_ALG_ECDSA && pub->curve == TPM2_CURVE_P256
	               ? NULL
	               : "its scheme is not ECDSA on P-256";
}

int tpm2_check_attestation_key(const struct tpm2_public *pub, struct cf_err *err)
{
	const char *fault = attestation_key_fault(pub);

	if (fault)
		return cf_fail(err, CF_PERMISSION_DENIED, "attestation key refused: %s", fault);
	return 0;
}

/* ---- quotes ---- */

static uint32_t read_selection(struct cf_rd *rd)
{
	struct cf_view map = cf_rd_bytes(rd, cf_rd_u8(rd));
	uint32_t mask = 0;

	if (map.size == 0 || map.size > PCR_BYTES_MAX)
		rd->bad = true;
	for (size_t i = 0; !rd->bad && i < map.size; i++)
		mask |= (uint32_t)map.data[i] << (8 * i);
	return mask;
}

int tpm2_quote_parse(struct cf_view attest, struct tpm2_quote *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = attest };
	struct tpm2_quote q = { 0 };
	uint32_t selections;
	uint16_t bank;

	if (attest.size > TPM2_ATTEST_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM quote: %zu bytes", attest.size);
	if (cf_rd_u32be(&rd) != ATTEST_MAGIC)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM quote: not made by a TPM (magic)");
	if (cf_rd_u16be(&rd) != ATTEST_QUOTE)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "TPM quote: an attestation of another type");
	q.qualified_signer = read_tpm2b(&rd);
	q.extra_data = read_tpm2b(&rd);
	q.clock_ms = cf_rd_u64be(&rd);
	q.reset_count = cf_rd_u32be(&rd);
	q.restart_count = cf_rd_u32be(&rd);
	q.is_safe = cf_rd_u8(&rd) == 1;
	q.firmware_version = cf_rd_u64be(&rd);
	selections = cf_rd_u32be(&rd);
	if (rd.bad)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM quote: cut short");
	if (selections != 1)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "TPM quote: %u PCR selections, exactly one is taken", selections);
	bank = cf_rd_u16be(&rd);
	if (bank != TPM2_ALG_SHA256)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "TPM quote: PCR bank 0x%04x, only SHA-256 is taken", bank);
	q.pcr_mask = read_selection(&rd);
	q.pcr_digest = read_tpm2b(&rd);
	if (rd.bad || cf_rd_left(&rd) || q.pcr_digest.size != 32)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM quote: malformed");
	*ret = q;
	return 0;
}

int tpm2_signature_parse(struct cf_view tpmt, struct tpm2_signature *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = tpmt };
	struct tpm2_signature sig = { 0 };

	sig.alg = cf_rd_u16be(&rd);
	sig.hash = cf_rd_u16be(&rd);
	if (rd.bad || tpmt.size > TPM2_SIGNATURE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM signature: %zu bytes", tpmt.size);
	if (sig.alg != TPM2_ALG_RSASSA && sig.alg != TPM2_ALG_ECDSA)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM signature: scheme 0x%04x", sig.alg);
	if (sig.hash != TPM2_ALG_SHA256)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM signature: hash 0x%04x", sig.hash);
	sig.r = read_tpm2b(&rd);
	if (sig.alg == TPM2_ALG_ECDSA)
		sig.s = read_tpm2b(&rd);
	if (rd.bad || cf_rd_left(&rd))
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM signature: malformed");
	*ret = sig;
	return 0;
}

/* A TPM may leave out leading zeroes, JOSE's raw form may not. */
static bool pad_left(struct cf_view in, uint8_t *out, size_t size)
{
	if (in.size > size)
		return false;
	memset(out, 0, size);
	if (in.size)
		memcpy(out + size - in.size, in.data, in.size);
	return true;
}

int tpm2_signature_verify(const struct cf_pkey *key, struct cf_view message,
                          struct cf_view tpmt_signature, struct cf_err *err)
{
	enum cf_pkey_kind kind = cf_pkey_kind(key);
	struct tpm2_signature sig;
	uint8_t raw[64];
	int r = tpm2_signature_parse(tpmt_signature, &sig, err);

	if (r < 0)
		return r;
	if (sig.alg == TPM2_ALG_RSASSA && kind == CF_PKEY_RSA)
		return cf_pkey_verify(key, CF_SIG_RSA_PKCS1, CF_SHA256, message, sig.r, err);
	if (sig.alg != TPM2_ALG_ECDSA || kind != CF_PKEY_EC_P256)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "TPM signature: its scheme is not the attestation key's");
	if (!pad_left(sig.r, raw, 32) || !pad_left(sig.s, raw + 32, 32))
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM signature: malformed");
	return cf_pkey_verify(key, CF_SIG_ECDSA_RAW, CF_SHA256, message, cf_view(raw, sizeof(raw)),
	                      err);
}

/* ---- key derivation ---- */

static void put_be32(uint8_t out[4], uint32_t v)
{
	out[0] = (uint8_t)(v >> 24);
	out[1] = (uint8_t)(v >> 16);
	out[2] = (uint8_t)(v >> 8);
	out[3] = (uint8_t)v;
}

/* One block of either function: counter and fixed input, the label with its NUL. */
static void kdf_block(struct cf_hasher *h, uint32_t i, struct cf_view z, const char *label,
                      struct cf_view u, struct cf_view v)
{
	uint8_t n[4];

	put_be32(n, i);
	cf_hasher_add(h, cf_view(n, 4));
	cf_hasher_add(h, z);
	cf_hasher_add(h, cf_view(label, strlen(label) + 1));
	cf_hasher_add(h, u);
	cf_hasher_add(h, v);
}

void tpm2_kdfa(enum cf_hash_alg hash, struct cf_view key, const char *label, struct cf_view u,
               struct cf_view v, uint8_t *out, size_t size)
{
	uint8_t block[CF_HASH_SIZE_MAX], bits[4];
	size_t step = cf_hash_size(hash), done = 0;

	put_be32(bits, (uint32_t)size * 8);
	for (uint32_t i = 1; done < size; i++) {
		cf_cleanup(cf_hasher_freep) struct cf_hasher *h = cf_hmac_new(hash, key);
		size_t n = CF_MIN(step, size - done);

		kdf_block(h, i, (struct cf_view){ 0 }, label, u, v);
		cf_hasher_add(h, cf_view(bits, 4));
		cf_hasher_final(h, block);
		memcpy(out + done, block, n);
		done += n;
	}
	explicit_bzero(block, sizeof(block));
}

void tpm2_kdfe(enum cf_hash_alg hash, struct cf_view z, const char *label, struct cf_view u,
               struct cf_view v, uint8_t *out, size_t size)
{
	uint8_t block[CF_HASH_SIZE_MAX];
	size_t step = cf_hash_size(hash), done = 0;

	for (uint32_t i = 1; done < size; i++) {
		cf_cleanup(cf_hasher_freep) struct cf_hasher *h = cf_hasher_new(hash);
		size_t n = CF_MIN(step, size - done);

		kdf_block(h, i, z, label, u, v);
		cf_hasher_final(h, block);
		memcpy(out + done, block, n);
		done += n;
	}
	explicit_bzero(block, sizeof(block));
}

/* ---- MakeCredential ---- */

struct suite {
	enum cf_pkey_kind kind;
	enum cf_hash_alg hash;
	enum cf_rsa_padding padding;
	size_t seed; /* bytes: the hash's size */
	size_t aes;  /* bytes */
};

static const struct suite suites[] = {
	{ CF_PKEY_RSA, CF_SHA256, CF_RSA_OAEP_SHA256, 32, 16 },
	{ CF_PKEY_EC_P256, CF_SHA256, CF_RSA_OAEP_SHA256, 32, 16 },
	{ CF_PKEY_EC_P384, CF_SHA384, CF_RSA_OAEP_SHA384, 48, 32 },
};

static const struct suite *find_suite(const struct cf_pkey *ek)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(suites); i++)
		if (suites[i].kind == cf_pkey_kind(ek))
			return suites[i].kind == CF_PKEY_RSA && cf_pkey_bits(ek) != 2048
			               ? NULL
			               : &suites[i];
	return NULL;
}

static void add_tpm2b(struct cf_buf *b, struct cf_view v)
{
	cf_buf_add_u16be(b, (uint16_t)v.size);
	cf_buf_add_view(b, v);
}

static int seed_by_rsa(const struct suite *su, const struct cf_pkey *ek, uint8_t *seed,
                       struct cf_buf *secret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf enc = { 0 };
	int r;

	cf_random(seed, su->seed);
	r = cf_rsa_encrypt(ek, su->padding, cf_view("IDENTITY", sizeof("IDENTITY")),
	                   cf_view(seed, su->seed), &enc, err);
	if (r < 0)
		return r;
	add_tpm2b(secret, cf_buf_view(&enc));
	return 0;
}

static int seed_by_ecdh(const struct suite *su, const struct cf_pkey *ek, uint8_t *seed,
                        struct cf_buf *secret, struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *eph = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf ex = { 0 }, ey = { 0 }, kx = { 0 }, ky = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf point = { 0 };
	cf_cleanup(cf_buf_wipe) struct cf_buf z = { 0 };
	int r = cf_pkey_generate(su->kind, 0, &eph, err);

	if (r == 0)
		r = cf_pkey_ec_point(eph, &ex, &ey, err);
	if (r == 0)
		r = cf_pkey_ec_point(ek, &kx, &ky, err);
	if (r == 0)
		r = cf_ecdh(eph, ek, &z, err);
	if (r < 0)
		return r;
	tpm2_kdfe(su->hash, cf_buf_view(&z), "IDENTITY", cf_buf_view(&ex), cf_buf_view(&kx), seed,
	          su->seed);
	add_tpm2b(&point, cf_buf_view(&ex));
	add_tpm2b(&point, cf_buf_view(&ey));
	add_tpm2b(secret, cf_buf_view(&point));
	return cf_buf_check(&point, "credential", err);
}

/* sized{ sized HMAC(E ‖ name), E } with E = AES-CFB(sized credential) */
static int seal_blob(const struct suite *su, struct cf_view seed, struct cf_view name,
                     struct cf_view credential, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_wipe) struct cf_buf plain = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 };
	uint8_t key[CF_HASH_SIZE_MAX], mac[CF_HASH_SIZE_MAX];
	uint8_t enc[2 + TPM2_CREDENTIAL];
	static const uint8_t zero_iv[16];
	struct cf_view none = { 0 };
	int r;

	add_tpm2b(&plain, credential);
	tpm2_kdfa(su->hash, seed, "STORAGE", name, none, key, su->aes);
	r = cf_aes_cfb(true, cf_view(key, su->aes), cf_view(zero_iv, sizeof(zero_iv)),
	               cf_buf_view(&plain), enc, err);
	if (r == 0) {
		cf_cleanup(cf_hasher_freep) struct cf_hasher *h = NULL;

		tpm2_kdfa(su->hash, seed, "INTEGRITY", none, none, key, su->seed);
		h = cf_hmac_new(su->hash, cf_view(key, su->seed));
		cf_hasher_add(h, cf_view(enc, plain.size));
		cf_hasher_add(h, name);
		cf_hasher_final(h, mac);
		add_tpm2b(&body, cf_view(mac, cf_hash_size(su->hash)));
		cf_buf_add(&body, enc, plain.size);
		add_tpm2b(ret, cf_buf_view(&body));
	}
	explicit_bzero(key, sizeof(key));
	return r;
}

int tpm2_make_credential(const struct cf_pkey *ek, struct cf_view name, struct cf_view credential,
                         struct cf_buf *ret_blob, struct cf_buf *ret_secret, struct cf_err *err)
{
	const struct suite *su = find_suite(ek);
	uint8_t seed[CF_HASH_SIZE_MAX];
	int r;

	if (!su)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "endorsement key: neither RSA 2048 nor P-256 nor P-384");
	if (credential.size > TPM2_CREDENTIAL || name.size != TPM2_NAME_SIZE)
		return cf_fail(err, CF_INVALID_ARGUMENT, "credential: wrong sizes");
	r = su->kind == CF_PKEY_RSA ? seed_by_rsa(su, ek, seed, ret_secret, err)
	                            : seed_by_ecdh(su, ek, seed, ret_secret, err);
	if (r == 0)
		r = seal_blob(su, cf_view(seed, su->seed), name, credential, ret_blob, err);
	explicit_bzero(seed, sizeof(seed));
	if (r < 0)
		return cf_wrap(err, r, "credential for the endorsement key");
	r = cf_buf_check(ret_blob, "credential", err);
	return r < 0 ? r : cf_buf_check(ret_secret, "credential", err);
}
