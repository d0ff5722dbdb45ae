/* sfu.c - publishers with N subscribers each: receive a batch, decrypt it once, and per subscriber rewrite the header,
 * encrypt from the shared plaintext into the send buffer and send. Nothing else: no signalling, no reports, no metrics.
 */
#include "limit.h"

#define SFU_PORT 19000
#define BURST 8
#define INPUTS 32 /* packets taken in one batch */
#define MTU 1472
#define PUBLISHER_SSRC 0x11223344

enum { SC_NONE, SC_CM, SC_AEAD0 }; /* SC_AEAD0 + i: aeads[i] */
enum { ST_SENDTO, ST_MMSG, ST_GSO, ST_MMSG_GSO, ST_CONN_GSO };

/* Where the server is, and everybody else: the same place, or a namespace at the other end of a veth pair. */
struct network {
    const char *server, *peers; /* addresses */
    const char *home, *away;    /* namespaces of both; NULL: the same */
};
struct run {
    struct network net;
    const char *sink;
    int publishers, subscribers; /* of each publisher */
    int burst;                   /* packets that a publisher sends back to back */
    int crypt, how, size;
    int header;   /* bytes: 12, or 20 with a header extension for transport-wide sequence numbers */
    int paced_us; /* between two bursts; 0: as fast as they are taken */
    double secs;
    int runs;
};
struct result { /* of the last run */
    double us, kpps, batch;
    uint64_t forwarded;
    int bad, send_failures;
};
static const struct run *R; /* of the generator */

/* RFC 8285: one-byte form, one element of two bytes (a transport-wide sequence number), one byte of padding */
static void put_extension(uint8_t *p, uint16_t number) {
    p[0] |= 0x10;
    uint8_t ext[8] = {0xbe, 0xde, 0, 1, 0x31, number >> 8, number & 0xff, 0};
    memcpy(p + 12, ext, 8);
}
static int cipher_of(const struct run *r) {
    return r->crypt >= SC_AEAD0 ? r->crypt - SC_AEAD0 : AEAD_OPENSSL;
}
static void generator(void *arg) {
    R = arg;
    if (R->net.away) enter_network(R->net.away);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), sz = 8 << 20, drain = !strcmp(R->sink, "drain"), hl = R->header;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sz, sizeof sz);
    struct sockaddr_in to = addr(R->net.server, SFU_PORT);
    if (connect(fd, (void *)&to, sizeof to)) _exit(1);
    static uint8_t pt[BURST][MTU], ct[BURST][MTU];
    static struct mmsghdr m[BURST];
    static struct iovec iv[BURST];
    uint32_t sent[NPUB] = {0};
    int cipher = cipher_of(R), plain = R->size - aeads[cipher]->tag;
    double next = mono();
    for (int i = 0; i < R->burst; i++) {
        fill(pt[i], plain);
        iv[i].iov_base = ct[i];
        iv[i].iov_len = R->size;
        m[i].msg_hdr.msg_iov = &iv[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    for (int p = 0;; p = (p + 1) % R->publishers) {
        for (int i = 0; i < R->burst; i++) {
            uint8_t ivb[12];
            uint32_t seq = sent[p]++;
            mkrtp(ct[i], seq, seq / R->burst * 3000, PUBLISHER_SSRC + p);
            if (hl > 12) put_extension(ct[i], seq);
            srtp_iv(ivb, publishers[p].salt, htonl(PUBLISHER_SSRC + p), htonl(seq >> 16), htons(seq));
            aeads[cipher]->seal(publishers[p].state[cipher], ivb, ct[i], hl, pt[i] + hl, ct[i] + hl, plain - hl,
                                ct[i] + plain);
        }
        if (R->paced_us) {
            next += R->paced_us * 1e3;
            while (mono() < next) {
                if (drain)
                    sink_drain_once();
                else
                    usleep(200);
            }
        } else {
            while (SH->sent - SH->recvd >= (uint64_t)R->burst) {
                if (drain)
                    sink_drain_once();
                else
                    relax();
            }
            next = mono();
        }
        int r = sendmmsg(fd, m, R->burst, 0);
        if (r > 0) SH->sent += r;
    }
}

static uint8_t rb[INPUTS][2048] __attribute__((aligned(64))), pt[INPUTS][2048] __attribute__((aligned(64)));
static struct mmsghdr rm[INPUTS], om[1024];
static struct iovec riv[INPUTS], oiv[1024];
static gctl og[1024];
static uint8_t *ob; /* send buffer of one chunk of subscribers */

/* highest: by publisher; from[i] becomes the publisher of packet i */
static int unprotect(const struct run *r, int n, uint64_t *highest, int *from) {
    int bad = 0, cipher = cipher_of(r), plain = r->size - aeads[cipher]->tag, hl = r->header;
    for (int i = 0; i < n; i++) {
        uint16_t q;
        uint32_t ss;
        uint8_t ivb[12];
        memcpy(&q, rb[i] + 2, 2);
        memcpy(&ss, rb[i] + 8, 4);
        int p = from[i] = (ntohl(ss) - PUBLISHER_SSRC) % NPUB;
        uint16_t s16 = ntohs(q);
        uint32_t roc = (uint32_t)(highest[p] >> 16);
        if (s16 < 0x4000 && (highest[p] & 0xffff) > 0xc000) roc++;
        highest[p] = (uint64_t)roc << 16 | s16;
        srtp_iv(ivb, publishers[p].salt, ss, htonl(roc), q);
        memcpy(pt[i], rb[i], hl);
        if (aeads[cipher]->open(publishers[p].state[cipher], ivb, rb[i], hl, rb[i] + hl, pt[i] + hl, plain - hl,
                                rb[i] + plain))
            bad++;
    }
    return bad;
}
/* one packet for one subscriber; returns its length */
static int protect(const struct run *r, int s, int i, uint16_t seq, uint8_t *o) {
    int aead = r->crypt - SC_AEAD0, hl = r->header, plain = r->size - aeads[cipher_of(r)]->tag;
    uint16_t q = htons(seq);
    uint8_t ivb[12];
    memcpy(o, pt[i], hl);
    memcpy(o + 2, &q, 2);
    memcpy(o + 8, &G[s].ssrc, 4);
    if (hl > 12) put_extension(o, seq);
    srtp_iv(ivb, G[s].salt, G[s].ssrc, 0, q);
    if (aead >= 0) {
        aeads[aead]->seal(G[s].state[aead], ivb, o, hl, pt[i] + hl, o + hl, plain - hl, o + plain);
        return r->size;
    }
    memcpy(o + hl, pt[i] + hl, plain - hl);
    if (r->crypt == SC_CM) {
        cm_seal(s, ivb, o, plain);
        return plain + 10;
    }
    return plain + 16;
}
static int transmit(const struct run *r, int fd, int first, int count, int size) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        struct msghdr *h = &om[i].msg_hdr;
        h->msg_iov = &oiv[i];
        h->msg_iovlen = 1;
        h->msg_namelen = sizeof dst[0];
        if (r->how < ST_GSO) h->msg_control = NULL, h->msg_controllen = 0;
    }
    if (r->how == ST_SENDTO) {
        for (int i = 0; i < count; i++)
            failed += sendto(fd, oiv[i].iov_base, size, 0, om[i].msg_hdr.msg_name, sizeof dst[0]) < 0;
    } else if (r->how == ST_GSO) {
        for (int i = 0; i < count; i++) failed += sendmsg(fd, &om[i].msg_hdr, 0) < 0;
    } else if (r->how == ST_CONN_GSO) {
        for (int i = 0; i < count; i++) {
            om[i].msg_hdr.msg_name = NULL;
            om[i].msg_hdr.msg_namelen = 0;
            failed += sendmsg(conn_fd[first + i], &om[i].msg_hdr, 0) < 0;
        }
    } else {
        for (int d = 0; d < count;) {
            int k = sendmmsg(fd, om + d, count - d, 0);
            if (k <= 0)
                failed++, d++;
            else
                d += k;
        }
    }
    return failed;
}
/* packets first to last of one publisher: those for one subscriber lie side by side and leave as one GSO message */
static int forward(const struct run *r, int fd, int p, int first, int last, uint16_t *oseq) {
    int failed = 0, chunk = r->how == ST_MMSG_GSO ? 16 : 4; /* subscribers per sendmmsg */
    int end = (p + 1) * r->subscribers;
    for (int s0 = p * r->subscribers; s0 < end; s0 += chunk) {
        int count = 0, size = r->size, e = s0 + chunk < end ? s0 + chunk : end;
        uint8_t *o = ob;
        for (int s = s0; s < e; s++) {
            uint8_t *start = o;
            for (int i = first; i < last; i++, o += size) {
                size = protect(r, s, i, oseq[s]++, o);
                if (r->how < ST_GSO) {
                    oiv[count].iov_base = o;
                    oiv[count].iov_len = size;
                    om[count++].msg_hdr.msg_name = &dst[s];
                }
            }
            if (r->how >= ST_GSO) {
                struct msghdr *h = &om[count].msg_hdr;
                oiv[count].iov_base = start;
                oiv[count].iov_len = o - start;
                h->msg_name = &dst[s];
                if (last - first > 1)
                    gso_ctl(h, &og[count], size);
                else
                    h->msg_control = NULL, h->msg_controllen = 0;
                count++;
            }
        }
        failed += transmit(r, fd, s0, count, size);
    }
    return failed;
}
static const char *crypt_name(int crypt) {
    return crypt == SC_NONE ? "no crypto" : crypt == SC_CM ? "openssl-CM_SHA1_80" : aeads[crypt - SC_AEAD0]->name;
}
static struct result sfu_one(struct run r) {
    if (!ob) ob = xalloc(INPUTS * 32 * 1500);
    int fd = usock("0.0.0.0", SFU_PORT, 8 << 20, 8 << 20), from[INPUTS];
    struct timeval tv = {0, 50000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SH->sent = SH->recvd = 0;
    SH->paced_us = r.paced_us;
    pid_t peer = spawn_peer(generator, &r, 30 + (int)(r.secs * r.runs));
    uint16_t oseq[NS] = {0};
    uint64_t highest[NPUB] = {0}, batches = 0, inputs = 0;
    struct result out = {0};
    for (int k = -1; k < r.runs; k++) { /* the first one warms up */
        sample_begin();
        double c0 = cpu(), t0 = mono(), dur = k < 0 ? 2.5e7 : r.secs * 1e9;
        uint64_t fw = 0;
        while (mono() - t0 < dur) {
            for (int i = 0; i < INPUTS; i++) {
                riv[i].iov_base = rb[i];
                riv[i].iov_len = 2048;
                rm[i].msg_hdr.msg_iov = &riv[i];
                rm[i].msg_hdr.msg_iovlen = 1;
            }
            int n = recvmmsg(fd, rm, INPUTS, MSG_WAITFORONE, NULL);
            if (n <= 0) continue;
            SH->recvd += n;
            batches++;
            inputs += n;
            out.bad += unprotect(&r, n, highest, from);
            for (int i = 0, last; i < n; i = last) {
                for (last = i + 1; last < n && from[last] == from[i];) last++;
                out.send_failures += forward(&r, fd, from[i], i, last, oseq);
            }
            fw += (uint64_t)n * r.subscribers;
        }
        double c = cpu() - c0, t = mono() - t0;
        if (k < 0) continue;
        static const char *hn[] = {"sendto", "sendmmsg", "GSO", "sendmmsg+GSO", "connected+GSO"};
        char name[200];
        snprintf(name, sizeof name, "sfu %s: N=%d %dB %s %s%s%s%s", sink_label ? sink_label : r.sink, r.subscribers,
                 r.size, crypt_name(r.crypt), hn[r.how], r.paced_us ? " paced" : "", out.bad ? " BADTAG" : "",
                 out.send_failures ? " SENDFAIL" : "");
        out.us = fw ? c / fw / 1e3 : -1;
        out.kpps = fw / (t / 1e6);
        out.forwarded += fw;
        sample(name, "us CPU/forwarded pkt", out.us);
        if (!r.paced_us) {
            strcat(name, " wall");
            sample(name, "kpkt/s", out.kpps);
        }
    }
    out.batch = batches ? (double)inputs / batches : 0;
    if (batches && inputs < batches * r.burst * 3 / 4 && !check)
        printf("# sfu: only %.0f packets per batch in some runs (the publisher was held up)\n", out.batch);
    stop_peer(peer);
    close(fd);
    return out;
}
static void sfu_prepare(const char *ip) {
    streams_init();
    shared_open();
    destinations_open(ip);
}
int cmd_sfu(const char *ip, const char *sink, int level) {
    sfu_prepare(ip);
    sink_open(ip, sink);
    struct run r = {{"127.0.0.1", ip, NULL, NULL}, sink, 1, NS, BURST, SC_NONE, ST_MMSG_GSO, VIDEO, 12, 0, 0.05, RUNS};
    for (int a = 0; a < AEADS; a++) {
        if (!aead_usable(a)) continue;
        r.crypt = SC_AEAD0 + a;
        sfu_one(r);
        if (level < 2) continue;
        struct run v = r;
        v.how = ST_MMSG, sfu_one(v);
        v.how = ST_CONN_GSO, sfu_one(v);
        v.how = ST_MMSG, v.size = AUDIO, sfu_one(v);
        v = r, v.subscribers = 100, sfu_one(v);
    }
    if (level >= 2) {
        r.crypt = SC_NONE, sfu_one(r);
        r.how = ST_MMSG, sfu_one(r);
        r.crypt = SC_AEAD0 + AEAD_OPENSSL, r.how = ST_SENDTO, sfu_one(r);
        r.crypt = SC_CM, r.how = ST_MMSG_GSO, sfu_one(r);
    }
    sink_close();
    return 0;
}
/* drained receivers, on the other side where there is one */
static void sinks_of(const struct network *net) {
    char here[64];
    snprintf(here, sizeof here, "/proc/self/fd/%d", net->home ? open(net->home, O_RDONLY | O_CLOEXEC) : -1);
    if (net->away) enter_network(net->away);
    sink_open(net->peers, "drain");
    for (int i = 0; i < sink_n; i++) { /* connected, as peers of a server are */
        struct sockaddr_in to = addr(net->server, SFU_PORT);
        if (connect(sink_fd[i], (void *)&to, sizeof to)) die("connect");
    }
    if (net->home) enter_network(here);
}
/* The run that stands beside the engine's: same AEAD library, sizes, header extension, receivers and rate.
 * fanout CIPHER RECEIVERS SIZE PACKETS_PER_S SECONDS [PUBLISHERS BURST [SERVER PEERS NAMESPACE]]; RECEIVERS of each
 * publisher, PACKETS_PER_S of all publishers together, 0: saturated; addresses of the server and of everybody else, who
 * live in NAMESPACE (a path). One line of JSON. */
int cmd_fanout(int argc, char **argv) {
    if (argc < 7) {
        fputs("usage: limit fanout CIPHER RECEIVERS SIZE PACKETS_PER_S SECONDS [PUBLISHERS BURST]\n", stderr);
        return 2;
    }
    int a = 0, receivers = atoi(argv[3]), size = atoi(argv[4]), rate = atoi(argv[5]);
    int senders = argc > 8 ? atoi(argv[7]) : 1, burst = argc > 8 ? atoi(argv[8]) : BURST;
    double seconds = atof(argv[6]);
    while (a < AEADS && (strcmp(aeads[a]->name, argv[2]) || !aead_usable(a))) a++;
    if (a == AEADS) {
        fprintf(stderr, "cipher %s: not usable here\n", argv[2]);
        return 3;
    }
    if (senders < 1 || senders > NPUB || burst < 1 || burst > BURST || receivers < 1 || receivers > NS / senders ||
        size < 64 || size > MTU || rate < 0 || rate > 1000000 || !(seconds > 0)) {
        fputs("fanout: a number is out of range\n", stderr);
        return 2;
    }
    check = 1; /* no raw samples */
    alarm((unsigned)seconds + 60);
    struct network net = {"127.0.0.1", "127.0.0.1", NULL, NULL};
    if (argc > 11) net = (struct network){argv[9], argv[10], "/proc/self/ns/net", argv[11]};
    sfu_prepare(net.peers);
    sinks_of(&net);
    int gap_us = rate ? 1000000 * burst / rate : 0;
    struct run r = {net, "drain", senders, receivers, burst, SC_AEAD0 + a, ST_MMSG_GSO, size, 20, gap_us, seconds, 1};
    struct result out = sfu_one(r);
    sink_close();
    printf("{\"cipher\": \"%s\", \"publishers\": %d, \"receivers\": %d, \"size_bytes\": %d, \"cpu_us_per_packet\": %.4f, "
           "\"forwarded\": %llu, \"kpackets_per_s\": %.2f, \"packets_per_batch\": %.2f, \"bad\": %d, "
           "\"send_failures\": %d}\n",
           argv[2], senders, receivers, size, out.us, (unsigned long long)out.forwarded, out.kpps, out.batch, out.bad,
           out.send_failures);
    return out.bad || out.send_failures || !out.forwarded;
}
/* do subscribers get what they should? */
int check_sfu(void) {
    check = 1;
    sfu_prepare("127.0.0.1");
    int bad = 0, good = 0;
    for (int t = 0; t < 3 * AEADS; t++) {
        static const int hows[3] = {ST_MMSG_GSO, ST_MMSG, ST_CONN_GSO};
        int a = t % AEADS;
        if (!aead_usable(a)) continue;
        int senders = t % 2 ? 3 : 1, tag = aeads[a]->tag;
        struct run r = {{"127.0.0.1", "127.0.0.1", NULL, NULL}, "queue", senders, NS / senders, BURST, SC_AEAD0 + a,
                        hows[t / AEADS], VIDEO, t & 1 ? 20 : 12, 5000, 0.1, 1};
        sink_open("127.0.0.1", "queue");
        sfu_one(r);
        static uint8_t first[64][2048];
        int nfirst = 0, hl = r.header, body = VIDEO - tag - hl;
        for (int s = 0; s < NS; s++)
            for (int i = 0;; i++) {
                uint8_t p[2048], o[2048], iv[12];
                ssize_t n = recv(sink_fd[s], p, sizeof p, MSG_DONTWAIT);
                if (n < 0) {
                    if (s % r.subscribers && i != nfirst && i < 64) bad++;
                    break;
                }
                uint32_t ss;
                uint16_t q;
                memcpy(&ss, p + 8, 4);
                memcpy(&q, p + 2, 2);
                srtp_iv(iv, G[s].salt, ss, 0, q);
                if (n != VIDEO || ss != G[s].ssrc || ntohs(q) != i ||
                    aeads[a]->open(G[s].state[a], iv, p, hl, p + hl, o, body, p + VIDEO - tag)) {
                    bad++;
                    continue;
                }
                if (i < 64) {
                    if (s % r.subscribers == 0) {
                        memcpy(first[i], o, body);
                        nfirst = i + 1;
                    } else if (memcmp(first[i], o, body)) {
                        bad++;
                        continue;
                    }
                }
                good++;
            }
        sink_close();
    }
    printf("check: %d forwarded SRTP packets decrypted with their subscriber's key, %d wrong\n", good, bad);
    return bad || !good;
}
