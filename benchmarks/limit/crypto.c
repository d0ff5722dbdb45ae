/* crypto.c - what a core does at best, and what a packet's protection costs by itself. */
#include "limit.h"
#ifdef HAVE_SRTP
#include <srtp2/srtp.h>
#endif

/* ------------------------------------------------------------------ calib */
int cmd_calib(void) {
    static uint8_t A[1 << 20], B[1 << 20];
    fill(A, sizeof A);
    for (int r = 0; r < RUNS; r++) {
        double p = probe(), a;
        printf("@\tcalib independent adds\tadds/ns\t%.2f\t%.2f\n", p, p);
        sample_begin();
        uint64_t x = 12345 + r;
        a = cpu(); /* dependent 64-bit multiplies: 3 cycles each on recent Intel cores */
        for (int i = 0; i < 2000000; i++) {
            x *= 0x9E3779B97F4A7C15ull;
            __asm__ volatile("" : "+r"(x));
        }
        sample("calib core clock from a multiply chain", "GHz", 6e6 / (cpu() - a));
        sample_begin();
        a = cpu();
        for (int i = 0; i < 50000; i++) syscall(SYS_getppid);
        sample("calib syscall getppid", "ns", (cpu() - a) / 5e4);
        sample_begin();
        a = cpu();
        for (int i = 0; i < 20000; i++) cpu();
        sample("calib clock_gettime(PROCESS_CPUTIME)", "ns", (cpu() - a) / 2e4);
        sample_begin();
        a = cpu();
        for (int i = 0; i < 50000; i++) {
            memcpy(B + (i % 800) * 1200, A + (i % 8) * 1200, 1200);
            __asm__ volatile("" ::: "memory");
        }
        sample("calib memcpy 1200 B into a 1 MB ring", "ns", (cpu() - a) / 5e4);
    }
    return 0;
}

/* ------------------------------------------------------------------ crypto */
enum { C_AEAD0, C_CM = AEADS, C_SRTP_GCM_P, C_SRTP_GCM_U, C_SRTP_CM_P, C_SRTP_CM_U };
#ifdef HAVE_SRTP
static srtp_t srtp_mk(int gcm, uint8_t *key, uint32_t ssrc) {
    srtp_policy_t p;
    memset(&p, 0, sizeof p);
    if (gcm) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&p.rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&p.rtcp);
    } else {
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p.rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p.rtcp);
    }
    p.ssrc.type = ssrc_specific;
    p.ssrc.value = ssrc;
    p.key = key;
    p.window_size = 1024;
    srtp_t s;
    if (srtp_create(&s, &p)) {
        printf("srtp_create failed\n");
        exit(1);
    }
    return s;
}
#endif
static void crypto_one(const char *nm, int kind, int len, int nctx) {
    static uint8_t ring[64][1400] __attribute__((aligned(64)));
    char name[128];
    snprintf(name, sizeof name, "crypto %s %dB ctx=%d", nm, len, nctx);
    for (int i = 0; i < 64; i++) {
        fill(ring[i], len);
        mkrtp(ring[i], i, 0, 1);
    }
#ifdef HAVE_SRTP
    srtp_t a[NS], b[NS];
    uint16_t seq[NS] = {0};
    uint8_t mk[NS][46];
    static uint8_t pool[2400][1300];
    static int plen[2400];
    if (kind >= C_SRTP_GCM_P)
        for (int i = 0; i < nctx; i++) {
            int g = kind <= C_SRTP_GCM_U;
            fill(mk[i], 46);
            a[i] = srtp_mk(g, mk[i], 1);
            b[i] = srtp_mk(g, mk[i], 1);
        }
#endif
    int per = 2400, c = 0;
    for (int r = -1; r < RUNS; r++) {
        uint64_t n = 0;
        double used = 0, t0, lim = (r < 0 ? RUN_MS / 4 : RUN_MS) * 1e6;
        sample_begin();
        t0 = mono();
        while (used < lim && mono() - t0 < 5e8) {
#ifdef HAVE_SRTP
            int cs = c;
            if (kind == C_SRTP_GCM_U || kind == C_SRTP_CM_U)
                for (int i = 0, k = cs; i < per; i++, k = k + 1 == nctx ? 0 : k + 1) {
                    memcpy(pool[i], ring[0], len);
                    mkrtp(pool[i], seq[k]++, 0, 1);
                    plen[i] = len;
                    if (srtp_protect(a[k], pool[i], &plen[i])) exit(1);
                }
#endif
            double s = cpu();
            for (int i = 0; i < per; i++, c = c + 1 == nctx ? 0 : c + 1) {
                uint8_t *p = ring[i & 63], iv[12];
                switch (kind) {
                default:
                    srtp_iv(iv, G[c].salt, G[c].ssrc, 0, i);
                    aeads[kind]->seal(G[c].state[kind], iv, p, 12, p + 12, p + 12, len - 12, p + len);
                    break;
                case C_CM:
                    srtp_iv(iv, G[c].salt, G[c].ssrc, 0, i);
                    cm_seal(c, iv, p, len);
                    break;
#ifdef HAVE_SRTP
                case C_SRTP_GCM_P:
                case C_SRTP_CM_P: {
                    int pl = len;
                    uint16_t q = htons(seq[c]++);
                    memcpy(p + 2, &q, 2);
                    if (srtp_protect(a[c], p, &pl)) exit(1);
                    break;
                }
                case C_SRTP_GCM_U:
                case C_SRTP_CM_U:
                    if (srtp_unprotect(b[c], pool[i], &plen[i])) {
                        printf("unprotect failed\n");
                        exit(1);
                    }
                    break;
#endif
                }
            }
            used += cpu() - s;
            n += per;
        }
        if (r >= 0) sample(name, "ns/pkt", used / n);
    }
#ifdef HAVE_SRTP
    if (kind >= C_SRTP_GCM_P)
        for (int i = 0; i < nctx; i++) {
            srtp_dealloc(a[i]);
            srtp_dealloc(b[i]);
        }
#endif
}
int cmd_crypto(void) {
    aead_selftest();
    streams_init();
    RUN_MS /= 2;
#ifdef HAVE_SRTP
    srtp_init();
#endif
    int sz[2] = {AUDIO, VIDEO};
    for (int s = 0; s < 2; s++)
        for (int n = 0; n < 2; n++) {
            int nc = n ? NS : 1;
            char name[64];
            for (int a = 0; a < AEADS; a++)
                if (aead_usable(a)) {
                    snprintf(name, sizeof name, "SRTP %s", aeads[a]->name);
                    crypto_one(name, a, sz[s], nc);
                }
            crypto_one("AES-CM + HMAC-SHA1-80", C_CM, sz[s], nc);
#ifdef HAVE_SRTP
            crypto_one("libsrtp2 GCM protect", C_SRTP_GCM_P, sz[s], nc);
            crypto_one("libsrtp2 GCM unprotect", C_SRTP_GCM_U, sz[s], nc);
            crypto_one("libsrtp2 CM_SHA1_80 protect", C_SRTP_CM_P, sz[s], nc);
            crypto_one("libsrtp2 CM_SHA1_80 unprotect", C_SRTP_CM_U, sz[s], nc);
#endif
        }
    return 0;
}
