/* aead.c - the ciphers of SRTP by the engine's own library (aws-lc through Rust, see rust/load), AES-128-GCM by OpenSSL,
 * too, and AES-CM with HMAC-SHA1 by it for comparison; self-test of each against OpenSSL. */
#include "limit.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

struct stream G[NS], publishers[NPUB];

/* ---- the engine's */
#ifdef HAVE_ENGINE_AEAD
enum { GCM128, GCM256, CM80 }; /* as rust/load counts them */
void *engine_aead_new(int suite, const uint8_t key[KEY]);
void engine_aead_free(void *state);
void engine_aead_seal(void *state, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in,
                      uint8_t *out, int len, uint8_t tag[16]);
int engine_aead_open(void *state, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in, uint8_t *out,
                     int len, const uint8_t tag[16]);
static int engine_usable(void) {
    return 1;
}
static void *engine_gcm128(const uint8_t key[KEY]) {
    return engine_aead_new(GCM128, key);
}
static void *engine_gcm256(const uint8_t key[KEY]) {
    return engine_aead_new(GCM256, key);
}
static void *engine_cm80(const uint8_t key[KEY]) {
    return engine_aead_new(CM80, key);
}
#define ENGINE(NAME, TAG, CREATE)                                                                                      \
    {NAME, TAG, engine_usable, CREATE, engine_aead_free, engine_aead_seal, engine_aead_open}
#else
#define ENGINE(NAME, TAG, CREATE)                                                                                      \
    { .name = NAME, .tag = TAG }
#endif
static const struct aead aead_engine = ENGINE("engine", 16, engine_gcm128),
                         aead_engine_gcm256 = ENGINE("engine-gcm256", 16, engine_gcm256),
                         aead_engine_cm80 = ENGINE("engine-cm80", 10, engine_cm80);

/* ---- OpenSSL's */
struct openssl_state {
    EVP_CIPHER_CTX *enc, *dec;
};
static int openssl_usable(void) {
    return 1;
}
static void *openssl_gcm(const EVP_CIPHER *cipher, const uint8_t *key) {
    struct openssl_state *s = malloc(sizeof *s);
    if (!s) die("malloc");
    s->enc = EVP_CIPHER_CTX_new();
    s->dec = EVP_CIPHER_CTX_new();
    if (!EVP_EncryptInit_ex(s->enc, cipher, NULL, key, NULL) || !EVP_DecryptInit_ex(s->dec, cipher, NULL, key, NULL)) {
        fputs("OpenSSL refused AES-GCM\n", stderr);
        exit(1);
    }
    return s;
}
static void *openssl_create(const uint8_t key[KEY]) {
    return openssl_gcm(EVP_aes_128_gcm(), key);
}
static void openssl_destroy(void *state) {
    struct openssl_state *s = state;
    EVP_CIPHER_CTX_free(s->enc);
    EVP_CIPHER_CTX_free(s->dec);
    free(s);
}
static void openssl_seal(void *state, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in,
                         uint8_t *out, int len, uint8_t tag[16]) {
    EVP_CIPHER_CTX *x = ((struct openssl_state *)state)->enc;
    int l;
    if (!EVP_EncryptInit_ex(x, NULL, NULL, NULL, iv) || !EVP_EncryptUpdate(x, NULL, &l, aad, aadlen) ||
        !EVP_EncryptUpdate(x, out, &l, in, len) || !EVP_EncryptFinal_ex(x, out + l, &l) ||
        !EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_GCM_GET_TAG, 16, tag))
        abort();
}
static int openssl_open(void *state, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in,
                        uint8_t *out, int len, const uint8_t tag[16]) {
    EVP_CIPHER_CTX *x = ((struct openssl_state *)state)->dec;
    uint8_t expected[16];
    int l;
    memcpy(expected, tag, 16);
    return EVP_DecryptInit_ex(x, NULL, NULL, NULL, iv) && EVP_DecryptUpdate(x, NULL, &l, aad, aadlen) &&
                   EVP_DecryptUpdate(x, out, &l, in, len) &&
                   EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_GCM_SET_TAG, 16, expected) && EVP_DecryptFinal_ex(x, out + l, &l) > 0
               ? 0
               : -1;
}
static const struct aead aead_openssl = {"openssl",       16,           openssl_usable, openssl_create,
                                         openssl_destroy, openssl_seal, openssl_open};

const struct aead *const aeads[AEADS] = {&aead_engine,  &aead_engine_gcm256, &aead_engine_cm80,
                                         &aead_openssl, &aead_vaes,          &aead_vaes256};

int aead_usable(int a) {
    return aeads[a]->usable && aeads[a]->usable();
}
const struct aead *aead_named(const char *name) {
    for (int a = 0; a < AEADS; a++)
        if (!strcmp(aeads[a]->name, name)) return aead_usable(a) ? aeads[a] : NULL;
    return NULL;
}

/* what cipher `a` has to give, by OpenSSL */
static void reference(int a, const uint8_t key[KEY], const uint8_t iv[12], const uint8_t *aad, int al,
                      const uint8_t *in, uint8_t *out, int len, uint8_t tag[16]) {
    if (a != AEAD_ENGINE_CM80) {
        void *s = openssl_gcm(a == AEAD_ENGINE_GCM256 ? EVP_aes_256_gcm() : EVP_aes_128_gcm(), key);
        openssl_seal(s, iv, aad, al, in, out, len, tag);
        openssl_destroy(s);
        return;
    }
    /* AES in counter mode, then HMAC-SHA1 over header, text and a rollover counter of 0, cut to 80 bits */
    uint8_t counter[16] = {0}, all[4096] = {0}, mac[20];
    int l;
    memcpy(counter, iv, 12);
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    if (!EVP_EncryptInit_ex(x, EVP_aes_128_ctr(), NULL, key, counter) || !EVP_EncryptUpdate(x, out, &l, in, len))
        abort();
    EVP_CIPHER_CTX_free(x);
    memcpy(all, aad, al);
    memcpy(all + al, out, len);
    HMAC(EVP_sha1(), key + 16, 20, all, al + len + 4, mac, NULL);
    memcpy(tag, mac, 10);
}

/* every usable one against OpenSSL on random messages of every length */
void aead_selftest(void) {
    uint8_t key[KEY], iv[12], aad[32], in[2048], o1[2048], o2[2048], o3[2048], t1[16], t2[16];
    for (int a = 0; a < AEADS; a++) {
        if (!aead_usable(a)) {
            printf("# %s: not usable on this machine\n", aeads[a]->name);
            continue;
        }
        for (int it = 0; it < 3000; it++) {
            fill(key, KEY);
            fill(iv, 12);
            fill(aad, 32);
            int len = it < 1600 ? it : (int)(rnd() % 2000), al = 1 + rnd() % 32;
            fill(in, len);
            void *own = aeads[a]->create(key);
            reference(a, key, iv, aad, al, in, o1, len, t1);
            aeads[a]->seal(own, iv, aad, al, in, o2, len, t2);
            int wrong = memcmp(o1, o2, len) || memcmp(t1, t2, aeads[a]->tag);
            wrong = wrong || aeads[a]->open(own, iv, aad, al, o2, o3, len, t2) || memcmp(o3, in, len);
            t2[it % aeads[a]->tag] ^= 1;
            wrong = wrong || !aeads[a]->open(own, iv, aad, al, o2, o3, len, t2);
            aeads[a]->destroy(own);
            if (wrong) {
                printf("%s: self-test FAILED, length %d, AAD %d\n", aeads[a]->name, len, al);
                exit(1);
            }
        }
    }
    printf("# crypto library: %s; every cipher agrees with it on 3000 random messages\n",
           OpenSSL_version(OPENSSL_VERSION));
}

/* ---- streams */
typedef struct {
    SHA_CTX in, out;
} hmac_pads;
static hmac_pads pads[NS];
static EVP_CIPHER_CTX *ctr[NS];

void stream_init(struct stream *s) {
    fill(s->key, KEY);
    fill(s->salt, 12);
    s->ssrc = rnd();
    for (int a = 0; a < AEADS; a++) s->state[a] = aead_usable(a) ? aeads[a]->create(s->key) : NULL;
}
void streams_init(void) {
    for (int i = 0; i < NPUB; i++) stream_init(&publishers[i]);
    for (int i = 0; i < NS; i++) {
        stream_init(&G[i]);
        ctr[i] = EVP_CIPHER_CTX_new();
        EVP_EncryptInit_ex(ctr[i], EVP_aes_128_ctr(), NULL, G[i].key, NULL);
        uint8_t hk[64] = {0}, b[64];
        fill(hk, 20);
        for (int j = 0; j < 64; j++) b[j] = hk[j] ^ 0x36;
        SHA1_Init(&pads[i].in);
        SHA1_Update(&pads[i].in, b, 64);
        for (int j = 0; j < 64; j++) b[j] = hk[j] ^ 0x5c;
        SHA1_Init(&pads[i].out);
        SHA1_Update(&pads[i].out, b, 64);
    }
}
/* AES-CM + HMAC-SHA1-80 in place, the HMAC's pads hashed beforehand; the tag goes behind the packet */
void cm_seal(int c, const uint8_t iv12[12], uint8_t *p, int len) {
    uint8_t v16[16] = {0}, mac[20];
    uint32_t roc = 0;
    int l;
    memcpy(v16, iv12, 12);
    EVP_EncryptInit_ex(ctr[c], NULL, NULL, NULL, v16);
    EVP_EncryptUpdate(ctr[c], p + 12, &l, p + 12, len - 12);
    SHA_CTX h = pads[c].in;
    SHA1_Update(&h, p, len);
    SHA1_Update(&h, &roc, 4);
    SHA1_Final(mac, &h);
    h = pads[c].out;
    SHA1_Update(&h, mac, 20);
    SHA1_Final(mac, &h);
    memcpy(p + len, mac, 10);
}
void mkrtp(uint8_t *p, uint16_t seq, uint32_t ts, uint32_t ssrc) {
    p[0] = 0x80;
    p[1] = 96;
    uint16_t s = htons(seq);
    uint32_t t = htonl(ts), c = htonl(ssrc);
    memcpy(p + 2, &s, 2);
    memcpy(p + 4, &t, 4);
    memcpy(p + 8, &c, 4);
}
