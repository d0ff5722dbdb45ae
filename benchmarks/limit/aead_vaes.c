/* aead_vaes.c - AES-128-GCM by hand with AVX-512, VAES and VPCLMULQDQ: 16 blocks per step, one GHASH reduction per
 * 16 blocks, out of place. For CPUs that have them; elsewhere the file is empty but for "not usable". */
#include "limit.h"

#if defined(__x86_64__)
#include "gcm128.h"
#define TARGET                                                                                                         \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,aes,pclmul,ssse3,sse4.1,vaes,vpclmulqdq")))

#define BC(x) _mm512_broadcast_i32x4(x)
/* out = CTR(in); tag = GHASH over the ciphertext (enc) or over in (dec) */
TARGET static inline __attribute__((always_inline)) void vgcm_run(const gcm128 *c, const uint8_t iv[12],
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
    __m128i ek = gcm128_encrypt(c, j0);

    int left = len, nblk0 = len >= 256 ? 16 : (len + 15) / 16 + 1; /* power of the first data block */
    products sum = gcm128_aad(c, aad, aadlen, nblk0);
    __m512i L = _mm512_zextsi128_si512(sum.lo), M = _mm512_zextsi128_si512(sum.mid), H = _mm512_zextsi128_si512(sum.hi);
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
    sum = (products){FOLD(L), FOLD(M), FOLD(H)};
    add_product(&sum, lb, h1);
    _mm_storeu_si128((__m128i *)tag, _mm_xor_si128(_mm_shuffle_epi8(gred(sum.lo, sum.mid, sum.hi), BSWAP128()), ek));
}

static int usable(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("vaes") &&
           __builtin_cpu_supports("vpclmulqdq");
}
GCM128_AEAD(aead_vaes, "vaes", TARGET, usable, vgcm_run);
#else
const struct aead aead_vaes = {.name = "vaes", .tag = 16};
#endif
