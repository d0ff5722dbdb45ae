/* gcm128.h - what the hand-written AES-128-GCM loops share: the key schedule, powers of H, and GHASH of one block, in
 * 128-bit registers, and their entry in the table. For x86-64 only. */
#ifndef GCM128_H
#define GCM128_H
#include "limit.h"
#include <immintrin.h>
#define TARGET128 __attribute__((target("aes,pclmul,ssse3,sse4.1")))

#define NPOW 20
typedef struct {
    __m128i rk[11];
    __m128i hp[NPOW + 20]; /* hp[i] = H^(NPOW-i), i < NPOW; zeros after */
} __attribute__((aligned(64))) gcm128;

#define KE(i, r) rk[i] = k = _mm_xor_si128(ke(k), _mm_shuffle_epi32(_mm_aeskeygenassist_si128(k, r), 0xff))
TARGET128 static inline __m128i ke(__m128i k) {
    k = _mm_xor_si128(k, _mm_slli_si128(k, 4));
    k = _mm_xor_si128(k, _mm_slli_si128(k, 4));
    return _mm_xor_si128(k, _mm_slli_si128(k, 4));
}
TARGET128 static inline __m128i BSWAP128(void) {
    return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
TARGET128 static inline __m128i gred(__m128i lo, __m128i mid, __m128i hi) {
    const __m128i poly = _mm_set_epi64x((long long)0xC200000000000000ull, 1);
    lo = _mm_xor_si128(lo, _mm_slli_si128(mid, 8));
    hi = _mm_xor_si128(hi, _mm_srli_si128(mid, 8));
    lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, poly, 0x10));
    lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, poly, 0x10));
    return _mm_xor_si128(lo, hi);
}
TARGET128 static inline __m128i gmul(__m128i a, __m128i b) {
    return gred(_mm_clmulepi64_si128(a, b, 0x00),
                _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10)),
                _mm_clmulepi64_si128(a, b, 0x11));
}
TARGET128 static inline void gcm128_init(gcm128 *c, const uint8_t key[16]) {
    __m128i *rk = c->rk, k = _mm_loadu_si128((const __m128i *)key);
    rk[0] = k;
    KE(1, 1);
    KE(2, 2);
    KE(3, 4);
    KE(4, 8);
    KE(5, 16);
    KE(6, 32);
    KE(7, 64);
    KE(8, 128);
    KE(9, 27);
    KE(10, 54);
    __m128i h = rk[0];
    for (int i = 1; i < 10; i++) h = _mm_aesenc_si128(h, rk[i]);
    h = _mm_aesenclast_si128(h, rk[10]);
    h = _mm_shuffle_epi8(h, BSWAP128());
    uint64_t v[2];
    _mm_storeu_si128((__m128i *)v, h); /* H * x */
    uint64_t carry = v[1] >> 63;
    v[1] = v[1] << 1 | v[0] >> 63;
    v[0] <<= 1;
    if (carry) {
        v[0] ^= 1;
        v[1] ^= 0xC200000000000000ull;
    }
    h = _mm_loadu_si128((__m128i *)v);
    memset(c->hp, 0, sizeof c->hp);
    __m128i p = h;
    for (int i = NPOW - 1; i >= 0; i--) {
        c->hp[i] = p;
        p = gmul(p, h);
    }
}
TARGET128 static inline __m128i gcm128_encrypt(const gcm128 *c, __m128i block) {
    block = _mm_xor_si128(block, c->rk[0]);
    for (int i = 1; i < 10; i++) block = _mm_aesenc_si128(block, c->rk[i]);
    return _mm_aesenclast_si128(block, c->rk[10]);
}
/* an unreduced sum of products */
typedef struct {
    __m128i lo, mid, hi;
} products;
TARGET128 static inline void add_product(products *sum, __m128i x, __m128i power) {
    sum->lo = _mm_xor_si128(sum->lo, _mm_clmulepi64_si128(x, power, 0x00));
    sum->hi = _mm_xor_si128(sum->hi, _mm_clmulepi64_si128(x, power, 0x11));
    sum->mid = _mm_xor_si128(
        sum->mid, _mm_xor_si128(_mm_clmulepi64_si128(x, power, 0x01), _mm_clmulepi64_si128(x, power, 0x10)));
}
/* the additional data, whose last block is followed by `blocks` more before the sum is reduced */
TARGET128 static inline products gcm128_aad(const gcm128 *c, const uint8_t *aad, int aadlen, int blocks) {
    products sum = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    int count = (aadlen + 15) / 16;
    for (int i = 0; i < count; i++) {
        uint8_t block[16] = {0};
        memcpy(block, aad + 16 * i, aadlen - 16 * i < 16 ? aadlen - 16 * i : 16);
        add_product(&sum, _mm_shuffle_epi8(_mm_loadu_si128((__m128i *)block), BSWAP128()),
                    c->hp[NPOW - (blocks + count - i)]);
    }
    return sum;
}
static void *gcm128_create(const uint8_t key[KEY]) {
    gcm128 *c = aligned_alloc(64, sizeof *c);
    if (!c) die("aligned_alloc");
    gcm128_init(c, key);
    return c;
}
/* The table entry of a loop: RUN(state, iv, aad, aadlen, in, out, len, tag, enc) for the instructions of TARGET. */
#define GCM128_AEAD(SYMBOL, NAME, TARGET, USABLE, RUN)                                                                 \
    TARGET static void gcm128_seal(void *c, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in,   \
                                   uint8_t *out, int len, uint8_t tag[16]) {                                           \
        RUN(c, iv, aad, aadlen, in, out, len, tag, 1);                                                                 \
    }                                                                                                                  \
    TARGET static int gcm128_open(void *c, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in,    \
                                  uint8_t *out, int len, const uint8_t tag[16]) {                                      \
        uint8_t t[16], d = 0;                                                                                          \
        RUN(c, iv, aad, aadlen, in, out, len, t, 0);                                                                   \
        for (int i = 0; i < 16; i++) d |= t[i] ^ tag[i];                                                               \
        return d ? -1 : 0;                                                                                             \
    }                                                                                                                  \
    const struct aead SYMBOL = {NAME, 16, USABLE, gcm128_create, free, gcm128_seal, gcm128_open}
#endif
