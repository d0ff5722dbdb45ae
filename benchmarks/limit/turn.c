/* turn.c - a TURN relay's data path with ChannelData, both directions. */
#include "limit.h"

/* ------------------------------------------------------------------ TURN */
#define NA 100            /* allocations */
#define LISTEN_PORT 19100 /* TURN server, client side */
#define RELAY_PORT 21000  /* relay sockets, one per allocation */
#define CLIENT_PORT 22000 /* clients: they send ChannelData, and are the sink for p2c */
#define TB 8              /* packets per client burst */
static int cl_fd[NA];
typedef struct {
    int dir, gso, size, window;
} turn_arg;
static void turn_gen(void *a) {
    turn_arg *t = a;
    int size = t->size + (t->dir == 0 ? 4 : 0), pf = socket(AF_INET, SOCK_DGRAM, 0), sz = 8 << 20;
    setsockopt(pf, SOL_SOCKET, SO_SNDBUFFORCE, &sz, sizeof sz);
    static uint8_t b[TB * 1400];
    static struct mmsghdr m[TB];
    static struct iovec iv[TB];
    static gctl g;
    struct sockaddr_in to;
    struct msghdr h;
    memset(&h, 0, sizeof h);
    struct iovec hv = {b, (size_t)TB * size};
    for (int i = 0; i < TB; i++) {
        iv[i].iov_base = b + i * size;
        iv[i].iov_len = size;
        m[i].msg_hdr.msg_iov = &iv[i];
        m[i].msg_hdr.msg_iovlen = 1;
        m[i].msg_hdr.msg_name = &to;
        m[i].msg_hdr.msg_namelen = sizeof to;
    }
    h.msg_iov = &hv;
    h.msg_iovlen = 1;
    h.msg_name = &to;
    h.msg_namelen = sizeof to;
    gso_ctl(&h, &g, size);
    for (int k = 0;; k = k + 1 == NA ? 0 : k + 1) {
        to = addr("127.0.0.1", t->dir == 0 ? LISTEN_PORT : RELAY_PORT + k);
        int fd = t->dir == 0 ? cl_fd[k] : pf;
        if (t->dir == 0)
            for (int i = 0; i < TB; i++) {
                uint16_t ch = htons(0x4000 + k), l = htons(t->size);
                memcpy(b + i * size, &ch, 2);
                memcpy(b + i * size + 2, &l, 2);
            }
        while (SH->sent - SH->recvd >= (uint64_t)t->window) relax();
        if (t->gso) {
            if (sendmsg(fd, &h, 0) > 0) SH->sent += TB;
        } else {
            int r = sendmmsg(fd, m, TB, 0);
            if (r > 0) SH->sent += r;
        }
    }
}
static int turn_good, turn_bad;
static void turn_look(int dir, int size) { /* check mode: what the peers (dir 0) or the clients (dir 1) got */
    for (int i = 0; i < NA; i++)
        for (;;) {
            uint8_t p[2048];
            ssize_t n = recv(dir ? cl_fd[i] : sink_fd[i], p, sizeof p, MSG_DONTWAIT);
            if (n < 0) break;
            uint16_t ch, l;
            memcpy(&ch, p, 2);
            memcpy(&l, p + 2, 2);
            if (dir ? n == size + 4 && ntohs(ch) == 0x4000 + i && ntohs(l) == size : n == size)
                turn_good++;
            else
                turn_bad++;
        }
}
/* dir 0: client -> peer (strip the header, send from the allocation's socket)
 * dir 1: peer -> client (add the header, send from the listening socket)
 * mode 0: recvfrom + sendto; 1: recvmmsg(32) + sendmmsg; 2: recvmmsg + GRO, GSO out */
static void turn_one(int dir, int mode, int gen_gso, int size) {
    static uint8_t rb[32][65536] __attribute__((aligned(64)));
    static struct mmsghdr rm[32], om[64 * 32];
    static struct iovec riv[32], oiv[64 * 64];
    static gctl og[2048];
    static char rc[32][64];
    static struct sockaddr_in from[32];
    static uint8_t hdr[NA][4];
    int one = 1, relay[NA], gro = mode == 2;
    static struct sockaddr_in client[NA], peer[NA];
    int lf = usock("127.0.0.1", LISTEN_PORT, 64 << 20, 8 << 20);
    if (gro) setsockopt(lf, SOL_UDP, UDP_GRO, &one, sizeof one);
    int ep = epoll_create1(0);
    for (int i = 0; i < NA; i++) {
        relay[i] = usock("127.0.0.1", RELAY_PORT + i, 16 << 20, 8 << 20);
        if (gro) setsockopt(relay[i], SOL_UDP, UDP_GRO, &one, sizeof one);
        cl_fd[i] = usock("127.0.0.1", CLIENT_PORT + i, check ? 1 << 20 : 1, 0);
        client[i] = addr("127.0.0.1", CLIENT_PORT + i);
        peer[i] = addr("127.0.0.1", BASEPORT + i);
        uint16_t ch = htons(0x4000 + i), l = htons(size);
        memcpy(hdr[i], &ch, 2);
        memcpy(hdr[i] + 2, &l, 2);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        if (dir == 1) epoll_ctl(ep, EPOLL_CTL_ADD, relay[i], &e);
    }
    if (dir == 0) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = NA};
        epoll_ctl(ep, EPOLL_CTL_ADD, lf, &e);
    }
    SH->sent = SH->recvd = 0;
    turn_arg ta = {dir, gen_gso, size, 256};
    pid_t p = spawn_peer(turn_gen, &ta, 20);
    char name[160];
    uint64_t sf = 0, bad = 0;
    int slot = gro ? 65000 : 2048;
    for (int r = -1; r < RUNS; r++) {
        sample_begin();
        double c0 = cpu(), t0 = mono(), dur = r < 0 ? 2.5e7 : 5e7;
        uint64_t fw = 0;
        while (mono() - t0 < dur) {
            struct epoll_event ev[64];
            int ne = epoll_wait(ep, ev, 64, 50), cnt = 0, oi = 0;
            for (int q = 0; q < ne; q++) {
                int fd = dir == 0 ? lf : relay[ev[q].data.u32], a = ev[q].data.u32;
                if (mode == 0) {
                    for (int z = 0; z < 32; z++) {
                        struct sockaddr_in f;
                        socklen_t fl = sizeof f;
                        ssize_t n = recvfrom(fd, rb[0] + 4, 2048, MSG_DONTWAIT, (void *)&f, &fl);
                        if (n < 0) break;
                        SH->recvd++;
                        fw++;
                        if (dir == 0) {
                            uint16_t ch;
                            memcpy(&ch, rb[0] + 4, 2);
                            int al = ntohs(ch) - 0x4000;
                            if (al < 0 || al >= NA || f.sin_port != client[al].sin_port) {
                                bad++;
                                continue;
                            }
                            if (sendto(relay[al], rb[0] + 8, n - 4, 0, (void *)&peer[al], sizeof peer[al]) < 0) sf++;
                        } else {
                            memcpy(rb[0], hdr[a], 4);
                            if (sendto(lf, rb[0], n + 4, 0, (void *)&client[a], sizeof client[a]) < 0) sf++;
                        }
                    }
                    continue;
                }
                int base = dir == 1 && !gro ? cnt % 32 : 0,
                    want = 32 - base; /* p2c: batch across sockets in one sendmmsg */
                if (dir == 1 && gro) {
                    base = cnt % 32;
                    want = 32 - base < 4 ? 32 - base : 4;
                }
                for (int i = base; i < base + want; i++) {
                    riv[i].iov_base = rb[i] + 64;
                    riv[i].iov_len = slot - 64;
                    struct msghdr *h = &rm[i].msg_hdr;
                    h->msg_iov = &riv[i];
                    h->msg_iovlen = 1;
                    h->msg_name = &from[i];
                    h->msg_namelen = sizeof from[i];
                    h->msg_control = gro ? rc[i] : NULL;
                    h->msg_controllen = gro ? 64 : 0;
                }
                int n = recvmmsg(fd, rm + base, want, MSG_DONTWAIT, NULL);
                if (n <= 0) continue;
                if (dir == 1) {
                    for (int i = base; i < base + n; i++) {
                        struct msghdr *h = &om[cnt].msg_hdr;
                        int len = rm[i].msg_len, seg = len;
                        memset(h, 0, sizeof *h);
                        h->msg_name = &client[a];
                        h->msg_namelen = sizeof client[a];
                        if (gro) {
                            struct cmsghdr *c = CMSG_FIRSTHDR(&rm[i].msg_hdr);
                            if (c && c->cmsg_type == UDP_GRO) memcpy(&seg, CMSG_DATA(c), 4);
                        }
                        h->msg_iov = &oiv[oi];
                        int k = 0;
                        if (!gro) {
                            memcpy(rb[i] + 60, hdr[a], 4);
                            oiv[oi].iov_base = rb[i] + 60;
                            oiv[oi].iov_len = len + 4;
                            k = 1;
                            fw++;
                            SH->recvd++;
                            oi++;
                        } else {
                            for (int o = 0; o < len; o += seg, fw++, SH->recvd++) {
                                oiv[oi + k].iov_base = hdr[a];
                                oiv[oi + k].iov_len = 4;
                                k++;
                                oiv[oi + k].iov_base = rb[i] + 64 + o;
                                oiv[oi + k].iov_len = seg < len - o ? seg : len - o;
                                k++;
                            }
                            oi += k;
                            if (len > seg) gso_ctl(h, &og[cnt], seg + 4);
                        }
                        h->msg_iovlen = k;
                        cnt++;
                    }
                    if (cnt >= 32 || oi > 3000 || q == ne - 1 || cnt % 32 > 24) {
                        for (int d = 0; d < cnt;) {
                            int k = sendmmsg(lf, om + d, cnt - d, 0);
                            if (k <= 0) {
                                sf++;
                                d++;
                            } else
                                d += k;
                        }
                        cnt = 0;
                        oi = 0;
                    }
                } else { /* group runs of the same client; one send call per run, on its relay socket */
                    for (int i = 0; i < n;) {
                        uint16_t ch;
                        memcpy(&ch, rb[i] + 64, 2);
                        int al = ntohs(ch) - 0x4000;
                        if (al < 0 || al >= NA || from[i].sin_port != client[al].sin_port) {
                            bad++;
                            i++;
                            continue;
                        }
                        int j = i;
                        cnt = oi = 0;
                        for (; j < n && from[j].sin_port == from[i].sin_port; j++) {
                            int len = rm[j].msg_len, seg = len;
                            struct msghdr *h = &om[cnt].msg_hdr;
                            memset(h, 0, sizeof *h);
                            h->msg_name = &peer[al];
                            h->msg_namelen = sizeof peer[al];
                            if (gro) {
                                struct cmsghdr *c = CMSG_FIRSTHDR(&rm[j].msg_hdr);
                                if (c && c->cmsg_type == UDP_GRO) memcpy(&seg, CMSG_DATA(c), 4);
                            }
                            h->msg_iov = &oiv[oi];
                            int k = 0;
                            for (int o = 0; o < len; o += seg, k++, fw++, SH->recvd++) {
                                oiv[oi + k].iov_base = rb[j] + 64 + o + 4;
                                oiv[oi + k].iov_len = (seg < len - o ? seg : len - o) - 4;
                            }
                            h->msg_iovlen = k;
                            oi += k;
                            if (k > 1) gso_ctl(h, &og[cnt], seg - 4);
                            cnt++;
                        }
                        if (cnt == 1) {
                            if (sendmsg(relay[al], &om[0].msg_hdr, 0) < 0) sf++;
                        } else
                            for (int d = 0; d < cnt;) {
                                int k = sendmmsg(relay[al], om + d, cnt - d, 0);
                                if (k <= 0) {
                                    sf++;
                                    d++;
                                } else
                                    d += k;
                            }
                        i = j;
                        cnt = oi = 0;
                    }
                }
            }
        }
        double c = cpu() - c0, t = mono() - t0;
        static const char *mn[] = {"recvfrom+sendto", "recvmmsg+sendmmsg", "GRO+GSO"};
        snprintf(name, sizeof name, "turn %s %dB %s%s%s", dir ? "peer->client" : "client->peer", size, mn[mode],
                 sf ? " SENDFAIL" : "", bad ? " BAD" : "");
        if (r >= 0) {
            sample(name, "us CPU/relayed pkt", fw ? c / fw / 1e3 : -1);
            strcat(name, " wall");
            sample(name, "kpkt/s", fw / (t / 1e6));
        }
    }
    stop_peer(p);
    if (check) turn_look(dir, size);
    close(lf);
    close(ep);
    for (int i = 0; i < NA; i++) {
        close(relay[i]);
        close(cl_fd[i]);
    }
}
int cmd_turn(void) {
    shared_open();
    sink_open("127.0.0.1", "drop");
    int sizes[2] = {AUDIO, VIDEO};
    for (int s = 0; s < 2; s++)
        for (int dir = 0; dir < 2; dir++) {
            turn_one(dir, 0, 0, sizes[s]);
            turn_one(dir, 1, 0, sizes[s]);
            turn_one(dir, 2, 1, sizes[s]);
        }
    sink_close();
    return 0;
}

int check_turn(void) {
    turn_good = turn_bad = 0;
    sink_open("127.0.0.1", "queue");
    for (int dir = 0; dir < 2; dir++)
        for (int m = 0; m < 3; m++) turn_one(dir, m, m == 2, VIDEO);
    sink_close();
    printf("check: %d relayed packets had the right length and header, %d wrong\n", turn_good, turn_bad);
    return turn_bad || !turn_good;
}
