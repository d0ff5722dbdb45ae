/* aead_vaes256.c - AES-128-GCM by hand with AVX2, VAES and VPCLMULQDQ: 8 blocks per step, one GHASH reduction per 8
 * blocks, out of place. For CPUs that have VAES without AVX-512; elsewhere the file is empty but for "not usable". */
#include "limit.h"

#if defined(__x86_64__)
#include "gcm128.h"
#define TARGET __attribute__((target("avx2,aes,pclmul,ssse3,sse4.1,vaes,vpclmulqdq")))
#define STEP 128 /* bytes, four registers of two blocks */
#define EACH(I) for (int I = 0; I < 4; I++)

typedef struct {
    __m256i lo, mid, hi;
} products2;

TARGET static inline __m256i both(__m128i x) {
    return _mm256_broadcastsi128_si256(x);
}
TARGET static inline __m128i fold(__m256i x) {
    return _mm_xor_si128(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
TARGET static inline void add_products(products2 *sum, __m256i x, const __m128i *powers) {
    __m256i p = _mm256_loadu_si256((const __m256i *)powers);
    sum->lo = _mm256_xor_si256(sum->lo, _mm256_clmulepi64_epi128(x, p, 0x00));
    sum->hi = _mm256_xor_si256(sum->hi, _mm256_clmulepi64_epi128(x, p, 0x11));
    sum->mid = _mm256_xor_si256(
        sum->mid, _mm256_xor_si256(_mm256_clmulepi64_epi128(x, p, 0x01), _mm256_clmulepi64_epi128(x, p, 0x10)));
}
/* the next 8 blocks of the key stream */
TARGET static inline __attribute__((always_inline)) void key_stream(const gcm128 *c, __m256i *ctr, __m256i b[4]) {
    const __m256i swap = both(BSWAP128()), two = _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2);
    __m256i k = both(c->rk[0]);
    EACH(i) {
        b[i] = _mm256_xor_si256(_mm256_shuffle_epi8(*ctr, swap), k);
        *ctr = _mm256_add_epi32(*ctr, two);
    }
#pragma GCC unroll 9
    for (int r = 1; r < 10; r++) {
        k = both(c->rk[r]);
        EACH(i) b[i] = _mm256_aesenc_epi128(b[i], k);
    }
    k = both(c->rk[10]);
    EACH(i) b[i] = _mm256_aesenclast_epi128(b[i], k);
}
/* out = CTR(in), STEP bytes; their GHASH, with `y` added to the first block, goes into `sum` */
TARGET static inline __attribute__((always_inline)) void step(const gcm128 *c, __m256i *ctr, const uint8_t *in,
                                                              uint8_t *out, int zero_from, __m128i y,
                                                              const __m128i *powers, products2 *sum, int enc) {
    const __m256i swap = both(BSWAP128());
    __m256i b[4], x[4];
    key_stream(c, ctr, b);
    EACH(i) {
        x[i] = _mm256_loadu_si256((const __m256i *)(in + 32 * i));
        b[i] = _mm256_xor_si256(b[i], x[i]);
        _mm256_storeu_si256((__m256i *)(out + 32 * i), b[i]);
    }
    if (enc && zero_from < STEP) {
        memset(out + zero_from, 0, STEP - zero_from); /* what is beyond the message does not count */
        EACH(i) b[i] = _mm256_loadu_si256((const __m256i *)(out + 32 * i));
    }
    EACH(i) x[i] = _mm256_shuffle_epi8(enc ? b[i] : x[i], swap);
    x[0] = _mm256_xor_si256(x[0], _mm256_set_m128i(_mm_setzero_si128(), y));
    EACH(i) add_products(sum, x[i], powers + 2 * i);
}
TARGET static inline __attribute__((always_inline)) void run(const gcm128 *c, const uint8_t iv[12], const uint8_t *aad,
                                                             int aadlen, const uint8_t *in, uint8_t *out, int len,
                                                             uint8_t tag[16], int enc) {
    const __m256i none = _mm256_setzero_si256();
    uint32_t w[4];
    memcpy(w, iv, 12);
    w[3] = 0x01000000;
    __m128i j0 = _mm_loadu_si128((__m128i *)w), ek = gcm128_encrypt(c, j0), y = _mm_setzero_si128();
    /* the counter is the low dword of each half */
    __m256i ctr = _mm256_shuffle_epi8(both(j0), both(BSWAP128()));
    ctr = _mm256_add_epi32(ctr, _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 1));

    int left = len;
    products start = gcm128_aad(c, aad, aadlen, len >= STEP ? STEP / 16 : (len + 15) / 16 + 1);
    products2 sum = {_mm256_zextsi128_si256(start.lo), _mm256_zextsi128_si256(start.mid),
                     _mm256_zextsi128_si256(start.hi)};
    for (; left >= STEP; in += STEP, out += STEP, left -= STEP) {
        step(c, &ctr, in, out, STEP, y, &c->hp[NPOW - STEP / 16], &sum, enc);
        y = gred(fold(sum.lo), fold(sum.mid), fold(sum.hi));
        sum = (products2){none, none, none};
    }
    if (left) {
        uint8_t rest[STEP] = {0}, done[STEP];
        memcpy(rest, in, left);
        step(c, &ctr, rest, done, left, y, &c->hp[NPOW - ((left + 15) / 16 + 1)], &sum, enc);
        memcpy(out, done, left);
        y = _mm_setzero_si128();
    }
    products end = {fold(sum.lo), fold(sum.mid), fold(sum.hi)};
    __m128i lengths = _mm_set_epi64x((long long)aadlen * 8, (long long)len * 8);
    add_product(&end, _mm_xor_si128(lengths, y), c->hp[NPOW - 1]);
    y = _mm_shuffle_epi8(gred(end.lo, end.mid, end.hi), BSWAP128());
    _mm_storeu_si128((__m128i *)tag, _mm_xor_si128(y, ek));
}

static int usable(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq");
}
GCM128_AEAD(aead_vaes256, "vaes256", TARGET, usable, run);
#else
const struct aead aead_vaes256 = {.name = "vaes256", .tag = 16};
#endif
