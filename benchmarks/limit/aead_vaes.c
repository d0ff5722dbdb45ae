/* aead_vaes.c - AES-128-GCM by hand with AVX-512, VAES and VPCLMULQDQ: 16 blocks per step, one GHASH reduction per
 * 16 blocks, out of place. For CPUs that have them; elsewhere the file is empty but for "not usable". */
#include "limit.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET                                                                                                         \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,aes,pclmul,ssse3,sse4.1,vaes,vpclmulqdq")))

#define NPOW 20
typedef struct {
    __m128i rk[11];
    __m128i hp[NPOW + 20]; /* hp[i] = H^(NPOW-i), i < NPOW; zeros after */
} __attribute__((aligned(64))) vgcm;

#define KE(i, r) rk[i] = k = _mm_xor_si128(ke(k), _mm_shuffle_epi32(_mm_aeskeygenassist_si128(k, r), 0xff))
TARGET static inline __m128i ke(__m128i k) {
    k = _mm_xor_si128(k, _mm_slli_si128(k, 4));
    k = _mm_xor_si128(k, _mm_slli_si128(k, 4));
    return _mm_xor_si128(k, _mm_slli_si128(k, 4));
}
TARGET static inline __m128i BSWAP128(void) {
    return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
TARGET static inline __m128i gred(__m128i lo, __m128i mid, __m128i hi) {
    const __m128i poly = _mm_set_epi64x((long long)0xC200000000000000ull, 1);
    lo = _mm_xor_si128(lo, _mm_slli_si128(mid, 8));
    hi = _mm_xor_si128(hi, _mm_srli_si128(mid, 8));
    lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, poly, 0x10));
    lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, poly, 0x10));
    return _mm_xor_si128(lo, hi);
}
TARGET static inline __m128i gmul(__m128i a, __m128i b) {
    return gred(_mm_clmulepi64_si128(a, b, 0x00),
                _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10)),
                _mm_clmulepi64_si128(a, b, 0x11));
}
TARGET static void vgcm_init(vgcm *c, const uint8_t key[16]) {
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
#define BC(x) _mm512_broadcast_i32x4(x)
/* out = CTR(in); tag = GHASH over the ciphertext (enc) or over in (dec) */
TARGET static inline __attribute__((always_inline)) void vgcm_run(const vgcm *c, const uint8_t iv[12],
                                                                  const uint8_t *aad, int aadlen, const uint8_t *in,
                                                                  uint8_t *out, int len, uint8_t tag[16], int enc) {
    const __m512i bs = BC(BSWAP128());
    uint32_t w[4];
    memcpy(w, iv, 12);
    w[3] = 0x01000000;
    __m128i j0 = _mm_loadu_si128((__m128i *)w);
    __m512i ctr = _mm512_shuffle_epi8(BC(j0), bs); /* the counter is now the low dword of each lane */
    const __m512i four = _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4);
    ctr = _mm512_add_epi32(ctr, _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1));
    __m128i ek = _mm_xor_si128(j0, c->rk[0]);
    for (int i = 1; i < 10; i++) ek = _mm_aesenc_si128(ek, c->rk[i]);
    ek = _mm_aesenclast_si128(ek, c->rk[10]);

    int left = len, nblk0 = len >= 256 ? 16 : (len + 15) / 16 + 1; /* power of the first data block */
    /* AAD */
    __m128i lo = _mm_setzero_si128(), mid = lo, hi = lo;
    int na = (aadlen + 15) / 16;
    for (int i = 0; i < na; i++) {
        int r = aadlen - 16 * i;
        __mmask16 mk = r >= 16 ? 0xffff : (__mmask16)((1u << r) - 1);
        __m128i a = _mm_shuffle_epi8(_mm_maskz_loadu_epi8(mk, aad + 16 * i), BSWAP128());
        __m128i p = c->hp[NPOW - (nblk0 + na - i)];
        lo = _mm_xor_si128(lo, _mm_clmulepi64_si128(a, p, 0x00));
        hi = _mm_xor_si128(hi, _mm_clmulepi64_si128(a, p, 0x11));
        mid = _mm_xor_si128(mid, _mm_xor_si128(_mm_clmulepi64_si128(a, p, 0x01), _mm_clmulepi64_si128(a, p, 0x10)));
    }
    __m512i L = _mm512_zextsi128_si512(lo), M = _mm512_zextsi128_si512(mid), H = _mm512_zextsi128_si512(hi);
    __m128i Y = _mm_setzero_si128();
#define ROUND4(K)                                                                                                      \
    do {                                                                                                               \
        __m512i kk = BC(K);                                                                                            \
        b0 = _mm512_aesenc_epi128(b0, kk);                                                                             \
        b1 = _mm512_aesenc_epi128(b1, kk);                                                                             \
        b2 = _mm512_aesenc_epi128(b2, kk);                                                                             \
        b3 = _mm512_aesenc_epi128(b3, kk);                                                                             \
    } while (0)
#define GH(X, P)                                                                                                       \
    do {                                                                                                               \
        __m512i p_ = _mm512_loadu_si512(P);                                                                            \
        L = _mm512_xor_si512(L, _mm512_clmulepi64_epi128(X, p_, 0x00));                                                \
        H = _mm512_xor_si512(H, _mm512_clmulepi64_epi128(X, p_, 0x11));                                                \
        M = _mm512_ternarylogic_epi64(M, _mm512_clmulepi64_epi128(X, p_, 0x01), _mm512_clmulepi64_epi128(X, p_, 0x10), \
                                      0x96);                                                                           \
    } while (0)
#define FOLD(Z)                                                                                                        \
    _mm_xor_si128(_mm_xor_si128(_mm512_extracti32x4_epi32(Z, 0), _mm512_extracti32x4_epi32(Z, 1)),                     \
                  _mm_xor_si128(_mm512_extracti32x4_epi32(Z, 2), _mm512_extracti32x4_epi32(Z, 3)))
#define CTR4()                                                                                                         \
    __m512i k0 = BC(c->rk[0]);                                                                                         \
    __m512i b0 = _mm512_xor_si512(_mm512_shuffle_epi8(ctr, bs), k0);                                                   \
    ctr = _mm512_add_epi32(ctr, four);                                                                                 \
    __m512i b1 = _mm512_xor_si512(_mm512_shuffle_epi8(ctr, bs), k0);                                                   \
    ctr = _mm512_add_epi32(ctr, four);                                                                                 \
    __m512i b2 = _mm512_xor_si512(_mm512_shuffle_epi8(ctr, bs), k0);                                                   \
    ctr = _mm512_add_epi32(ctr, four);                                                                                 \
    __m512i b3 = _mm512_xor_si512(_mm512_shuffle_epi8(ctr, bs), k0);                                                   \
    ctr = _mm512_add_epi32(ctr, four);                                                                                 \
    ROUND4(c->rk[1]);                                                                                                  \
    ROUND4(c->rk[2]);                                                                                                  \
    ROUND4(c->rk[3]);                                                                                                  \
    ROUND4(c->rk[4]);                                                                                                  \
    ROUND4(c->rk[5]);                                                                                                  \
    ROUND4(c->rk[6]);                                                                                                  \
    ROUND4(c->rk[7]);                                                                                                  \
    ROUND4(c->rk[8]);                                                                                                  \
    ROUND4(c->rk[9]);                                                                                                  \
    __m512i kl = BC(c->rk[10]);                                                                                        \
    b0 = _mm512_aesenclast_epi128(b0, kl);                                                                             \
    b1 = _mm512_aesenclast_epi128(b1, kl);                                                                             \
    b2 = _mm512_aesenclast_epi128(b2, kl);                                                                             \
    b3 = _mm512_aesenclast_epi128(b3, kl)
    while (left >= 256) {
        CTR4();
        __m512i i0 = _mm512_loadu_si512(in), i1 = _mm512_loadu_si512(in + 64), i2 = _mm512_loadu_si512(in + 128),
                i3 = _mm512_loadu_si512(in + 192);
        b0 = _mm512_xor_si512(b0, i0);
        b1 = _mm512_xor_si512(b1, i1);
        b2 = _mm512_xor_si512(b2, i2);
        b3 = _mm512_xor_si512(b3, i3);
        _mm512_storeu_si512(out, b0);
        _mm512_storeu_si512(out + 64, b1);
        _mm512_storeu_si512(out + 128, b2);
        _mm512_storeu_si512(out + 192, b3);
        __m512i x0 = _mm512_shuffle_epi8(enc ? b0 : i0, bs), x1 = _mm512_shuffle_epi8(enc ? b1 : i1, bs),
                x2 = _mm512_shuffle_epi8(enc ? b2 : i2, bs), x3 = _mm512_shuffle_epi8(enc ? b3 : i3, bs);
        x0 = _mm512_xor_si512(x0, _mm512_zextsi128_si512(Y));
        const __m128i *P = &c->hp[NPOW - 16];
        GH(x0, P);
        GH(x1, P + 4);
        GH(x2, P + 8);
        GH(x3, P + 12);
        Y = gred(FOLD(L), FOLD(M), FOLD(H));
        L = M = H = _mm512_setzero_si512();
        in += 256;
        out += 256;
        left -= 256;
    }
    int nt = (left + 15) / 16, m = nt + 1; /* data blocks + the length block; fits as m <= 17 */
    const __m128i *P = &c->hp[NPOW - m];
    __m128i Yadd = Y;
    if (left) {
        uint64_t ones = ~0ull;
#define MK(o) (left >= (o) + 64 ? ones : left > (o) ? (ones >> (64 - (left - (o)))) : 0)
        __mmask64 m0 = MK(0), m1 = MK(64), m2 = MK(128), m3 = MK(192);
        CTR4();
        __m512i i0 = _mm512_maskz_loadu_epi8(m0, in), i1 = _mm512_maskz_loadu_epi8(m1, in + 64),
                i2 = _mm512_maskz_loadu_epi8(m2, in + 128), i3 = _mm512_maskz_loadu_epi8(m3, in + 192);
        b0 = _mm512_maskz_mov_epi8(m0, _mm512_xor_si512(b0, i0));
        b1 = _mm512_maskz_mov_epi8(m1, _mm512_xor_si512(b1, i1));
        b2 = _mm512_maskz_mov_epi8(m2, _mm512_xor_si512(b2, i2));
        b3 = _mm512_maskz_mov_epi8(m3, _mm512_xor_si512(b3, i3));
        _mm512_mask_storeu_epi8(out, m0, b0);
        _mm512_mask_storeu_epi8(out + 64, m1, b1);
        _mm512_mask_storeu_epi8(out + 128, m2, b2);
        _mm512_mask_storeu_epi8(out + 192, m3, b3);
        __m512i x0 = _mm512_shuffle_epi8(enc ? b0 : i0, bs), x1 = _mm512_shuffle_epi8(enc ? b1 : i1, bs),
                x2 = _mm512_shuffle_epi8(enc ? b2 : i2, bs), x3 = _mm512_shuffle_epi8(enc ? b3 : i3, bs);
        x0 = _mm512_xor_si512(x0, _mm512_zextsi128_si512(Y));
        Yadd = _mm_setzero_si128();
        GH(x0, P);
        GH(x1, P + 4);
        GH(x2, P + 8);
        GH(x3, P + 12);
    }
    __m128i lb = _mm_xor_si128(_mm_set_epi64x((long long)aadlen * 8, (long long)len * 8), Yadd), h1 = c->hp[NPOW - 1];
    lo = _mm_xor_si128(FOLD(L), _mm_clmulepi64_si128(lb, h1, 0x00));
    hi = _mm_xor_si128(FOLD(H), _mm_clmulepi64_si128(lb, h1, 0x11));
    mid = _mm_xor_si128(FOLD(M), _mm_xor_si128(_mm_clmulepi64_si128(lb, h1, 0x01), _mm_clmulepi64_si128(lb, h1, 0x10)));
    _mm_storeu_si128((__m128i *)tag, _mm_xor_si128(_mm_shuffle_epi8(gred(lo, mid, hi), BSWAP128()), ek));
}
TARGET static void vgcm_seal(void *c, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in,
                             uint8_t *out, int len, uint8_t tag[16]) {
    vgcm_run(c, iv, aad, aadlen, in, out, len, tag, 1);
}
TARGET static int vgcm_open(void *c, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in,
                            uint8_t *out, int len, const uint8_t tag[16]) {
    uint8_t t[16];
    vgcm_run(c, iv, aad, aadlen, in, out, len, t, 0);
    uint8_t d = 0;
    for (int i = 0; i < 16; i++) d |= t[i] ^ tag[i];
    return d ? -1 : 0;
}

static int usable(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("vaes") &&
           __builtin_cpu_supports("vpclmulqdq");
}
static void *create(const uint8_t key[16]) {
    vgcm *c = aligned_alloc(64, sizeof *c);
    if (!c) die("aligned_alloc");
    vgcm_init(c, key);
    return c;
}
const struct aead aead_vaes = {"vaes", usable, create, free, vgcm_seal, vgcm_open};
#else
static int usable(void) {
    return 0;
}
const struct aead aead_vaes = {"vaes", usable, NULL, NULL, NULL, NULL};
#endif
