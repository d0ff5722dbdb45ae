/* udp.c - what sending and receiving datagrams costs: one by one, in batches, with segmentation offload, by io_uring.
 */
#include "limit.h"
#ifdef HAVE_URING
#include <liburing.h>
#endif

/* ------------------------------------------------------------------ send */
enum { S_SENDTO, S_CONN, S_MMSG, S_URING, S_URING_CONN, S_URING_ZC };
static uint8_t *sbuf;
static uint64_t send_fail;
static struct mmsghdr sm[128];
static struct iovec siv[128];
static gctl sct[128];
#ifdef HAVE_URING
static struct io_uring ring_;
#endif
/* send about `msgs` messages; returns packets sent */
static uint64_t send_some(int fd, int method, int batch, int segs, int size, int msgs, int *k) {
    uint64_t pk = 0;
    int bytes = segs * size;
    if (method == S_SENDTO) {
        struct msghdr *h = &sm[0].msg_hdr;
        for (int i = 0; i < msgs; i++) {
            int d = *k;
            *k = d + 1 == NS ? 0 : d + 1;
            uint8_t *b = sbuf + (size_t)(i & 15) * bytes;
            ssize_t r;
            if (segs == 1)
                r = sendto(fd, b, size, 0, (void *)&dst[d], sizeof dst[d]);
            else {
                siv[0].iov_base = b;
                siv[0].iov_len = bytes;
                h->msg_name = &dst[d];
                r = sendmsg(fd, h, 0);
            }
            if (r < 0)
                send_fail++;
            else
                pk += segs;
        }
    } else if (method == S_CONN) {
        struct msghdr h;
        memset(&h, 0, sizeof h);
        struct iovec iv;
        h.msg_iov = &iv;
        h.msg_iovlen = 1;
        gctl g;
        if (segs > 1) gso_ctl(&h, &g, size);
        for (int i = 0; i < msgs; i++) {
            int d = *k;
            *k = d + 1 == NS ? 0 : d + 1;
            uint8_t *b = sbuf + (size_t)(i & 15) * bytes;
            iv.iov_base = b;
            iv.iov_len = bytes;
            ssize_t r = segs == 1 ? send(conn_fd[d], b, size, 0) : sendmsg(conn_fd[d], &h, 0);
            if (r < 0)
                send_fail++;
            else
                pk += segs;
        }
    } else if (method == S_MMSG) {
        for (int i = 0; i < msgs; i += batch) {
            for (int j = 0; j < batch; j++) {
                int d = *k;
                *k = d + 1 == NS ? 0 : d + 1;
                sm[j].msg_hdr.msg_name = &dst[d];
            }
            int r = sendmmsg(fd, sm, batch, 0);
            if (r < 0) {
                send_fail += batch;
            } else {
                pk += (uint64_t)r * segs;
                send_fail += batch - r;
            }
        }
    }
#ifdef HAVE_URING
    else {
        for (int i = 0; i < msgs; i += batch) {
            for (int j = 0; j < batch; j++) {
                int d = *k;
                *k = d + 1 == NS ? 0 : d + 1;
                struct io_uring_sqe *q = io_uring_get_sqe(&ring_);
                if (method == S_URING) {
                    sm[j].msg_hdr.msg_name = &dst[d];
                    io_uring_prep_sendmsg(q, NS, &sm[j].msg_hdr, 0);
                    q->flags |= IOSQE_FIXED_FILE;
                } else if (method == S_URING_CONN) {
                    if (segs == 1)
                        io_uring_prep_send(q, d, siv[j].iov_base, size, 0);
                    else {
                        sm[j].msg_hdr.msg_name = NULL;
                        sm[j].msg_hdr.msg_namelen = 0;
                        io_uring_prep_sendmsg(q, d, &sm[j].msg_hdr, 0);
                    }
                    q->flags |= IOSQE_FIXED_FILE;
                } else {
                    io_uring_prep_send_zc_fixed(q, d, siv[j].iov_base, size, 0, 0, 0);
                    q->flags |= IOSQE_FIXED_FILE;
                }
            }
            int want = method == S_URING_ZC ? batch * 2 : batch;
            io_uring_submit_and_wait(&ring_, want);
            int seen = 0;
            struct io_uring_cqe *c;
            double t0 = mono();
            while (seen < want && mono() - t0 < 1e9) {
                unsigned head;
                int got = 0;
                io_uring_for_each_cqe(&ring_, head, c) {
                    got++;
                    if (!(c->flags & IORING_CQE_F_NOTIF)) {
                        if (c->res < 0) {
                            send_fail++;
                            if (method == S_URING_ZC && !(c->flags & IORING_CQE_F_MORE)) want--;
                        } else
                            pk += segs;
                    }
                }
                io_uring_cq_advance(&ring_, got);
                seen += got;
                if (seen < want) io_uring_submit_and_wait(&ring_, 1);
            }
        }
    }
#endif
    return pk;
}
static void send_one(const char *nm, const char *sink, int fd, int method, int batch, int segs, int size) {
    char name[160];
    int k = 0;
    send_fail = 0;
    for (int j = 0; j < 128; j++) {
        memset(&sm[j], 0, sizeof sm[j]);
        siv[j].iov_base = sbuf + (size_t)(j & 63) * segs * size;
        siv[j].iov_len = (size_t)segs * size;
        sm[j].msg_hdr.msg_iov = &siv[j];
        sm[j].msg_hdr.msg_iovlen = 1;
        sm[j].msg_hdr.msg_name = &dst[0];
        sm[j].msg_hdr.msg_namelen = sizeof dst[0];
        if (segs > 1) gso_ctl(&sm[j].msg_hdr, &sct[j], size);
    }
    int queue = !strcmp(sink, "queue");
    uint64_t lost = 0, tot = 0;
    for (int r = -1; r < RUNS; r++) {
        double used = 0, t0, lim = (r < 0 ? RUN_MS / 4 : RUN_MS) * 1e6;
        uint64_t n = 0;
        sample_begin();
        t0 = mono();
        while (used < lim && mono() - t0 < 4e8) {
            int msgs = 2048 / segs;
            msgs = (msgs + batch - 1) / batch * batch;
            double s = cpu();
            uint64_t p = send_some(fd, method, batch, segs, size, msgs, &k);
            used += cpu() - s;
            n += p;
            if (queue) {
                uint64_t g = sink_drain_once();
                if (r >= 0) {
                    tot += p;
                    lost += p - (g < p ? g : p);
                }
            }
        }
        snprintf(name, sizeof name, "send %s: %s %dB%s%s", sink_label ? sink_label : sink, nm, size,
                 send_fail ? " SENDFAIL" : "", lost * 50 > tot ? " LOST>2%" : "");
        if (r >= 0) sample(name, "ns/pkt", n ? used / n : -1);
    }
    if (queue) sink_drain_once();
}
static void send_setup(const char *ip, const char *sink, pid_t *peer) {
    sbuf = xalloc(64 * 16 * VIDEO + 4096);
    fill(sbuf, 64 * 16 * VIDEO);
    sink_open(ip, sink);
    *peer = 0;
    if (!strcmp(sink, "drain")) *peer = spawn_peer(drain_peer, NULL, 60);
    destinations_open(ip);
}
int cmd_send(const char *ip, const char *sink, int level) {
    pid_t peer;
    send_setup(ip, sink, &peer);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), sz = 8 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sz, sizeof sz);
    int sizes[2] = {AUDIO, VIDEO};
    for (int s = 0; s < 2; s++) {
        int z = sizes[s];
        if (level >= 1) {
            send_one("sendto", sink, fd, S_SENDTO, 1, 1, z);
            send_one("send on connected sockets", sink, fd, S_CONN, 1, 1, z);
            if (level == 2) send_one("sendmmsg(8)", sink, fd, S_MMSG, 8, 1, z);
            send_one("sendmmsg(32)", sink, fd, S_MMSG, 32, 1, z);
        }
        if (level == 2) {
            send_one("sendmmsg(64)", sink, fd, S_MMSG, 64, 1, z);
            send_one("GSO x2", sink, fd, S_SENDTO, 1, 2, z);
            send_one("GSO x4", sink, fd, S_SENDTO, 1, 4, z);
        }
        send_one("GSO x8", sink, fd, S_SENDTO, 1, 8, z);
        if (level == 2) send_one("GSO x16", sink, fd, S_SENDTO, 1, 16, z);
        if (level == 2) send_one("GSO x8 on connected sockets", sink, fd, S_CONN, 1, 8, z);
        send_one("sendmmsg(32) x GSO x8", sink, fd, S_MMSG, 32, 8, z);
    }
    stop_peer(peer);
    sink_close();
    return 0;
}
int cmd_uring(const char *ip, const char *sink) {
#ifdef HAVE_URING
    pid_t peer;
    send_setup(ip, sink, &peer);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), sz = 8 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sz, sizeof sz);
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    p.cq_entries = 1024;
    int e = io_uring_queue_init_params(256, &ring_, &p);
    if (e) {
        printf("io_uring: not available (%s)\n", strerror(-e));
        return 0;
    }
    int files[NS + 1];
    memcpy(files, conn_fd, sizeof conn_fd);
    files[NS] = fd;
    if ((e = io_uring_register_files(&ring_, files, NS + 1))) {
        printf("io_uring register files: %s\n", strerror(-e));
        return 0;
    }
    struct iovec rb = {sbuf, 64 * 16 * VIDEO};
    int zc = !io_uring_register_buffers(&ring_, &rb, 1);
    int sizes[2] = {AUDIO, VIDEO};
    for (int s = 0; s < 2; s++) {
        int z = sizes[s];
        send_one("io_uring(32) sendmsg, one socket", sink, fd, S_URING, 32, 1, z);
        send_one("io_uring(32) send, connected sockets", sink, fd, S_URING_CONN, 32, 1, z);
        send_one("io_uring(32) sendmsg x GSO x8, one socket", sink, fd, S_URING, 32, 8, z);
        send_one("io_uring(32) sendmsg x GSO x8, connected", sink, fd, S_URING_CONN, 32, 8, z);
        if (zc) send_one("io_uring(32) SEND_ZC fixed buf, connected", sink, fd, S_URING_ZC, 32, 1, z);
    }
    stop_peer(peer);
    sink_close();
#else
    (void)ip;
    (void)sink;
    printf("io_uring: built without liburing\n");
#endif
    return 0;
}
int cmd_sink(const char *ip, int secs) {
    alarm(secs);
    sink_open(ip, "drop");
    puts("sink ready");
    fflush(stdout);
    pause();
    return 0;
}

/* ------------------------------------------------------------------ recv */
typedef struct {
    int req[2], ack[2];
} chan;
typedef struct {
    chan c;
    int size, gso, n;
    struct sockaddr_in to;
} recv_peer_arg;
static void recv_peer(void *a) { /* on each request byte: put n packets in the receiver's queue */
    recv_peer_arg *p = a;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), sz = 8 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sz, sizeof sz);
    static uint8_t b[16 * VIDEO];
    static struct mmsghdr m[32];
    static struct iovec iv[32];
    static gctl g;
    char x;
    for (int i = 0; i < 32; i++) {
        iv[i].iov_base = b;
        iv[i].iov_len = (size_t)p->size * p->gso;
        m[i].msg_hdr.msg_iov = &iv[i];
        m[i].msg_hdr.msg_iovlen = 1;
        m[i].msg_hdr.msg_name = &p->to;
        m[i].msg_hdr.msg_namelen = sizeof p->to;
        if (p->gso > 1) gso_ctl(&m[i].msg_hdr, &g, p->size);
    }
    while (read(p->c.req[0], &x, 1) == 1) {
        for (int left = p->n / p->gso; left > 0;) {
            int r = sendmmsg(fd, m, left < 32 ? left : 32, 0);
            if (r <= 0) break;
            left -= r;
        }
        if (write(p->c.ack[1], "x", 1) != 1) break;
    }
}
static void recv_one(const char *nm, int how, int size, int gso) {
    static uint8_t b[64][65536];
    static struct mmsghdr m[64];
    static struct iovec iv[64];
    static char ctl[64][64];
    static struct sockaddr_in from[64];
    int fd = usock("127.0.0.1", BASEPORT, 256 << 20, 0), one = 1, slot = how == 2 ? 16384 * 4 - 1 : 2048;
    if (how == 2) setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one);
    recv_peer_arg *a = calloc(1, sizeof *a);
    if (pipe(a->c.req) || pipe(a->c.ack)) die("pipe");
    a->size = size;
    a->gso = gso;
    a->n = 1920;
    a->to = addr("127.0.0.1", BASEPORT);
    pid_t peer = spawn_peer(recv_peer, a, 10);
    char name[128], x;
    snprintf(name, sizeof name, "recv %s %dB", nm, size);
    for (int r = -1; r < RUNS; r++) {
        double used = 0, t0, lim = (r < 0 ? RUN_MS / 8 : RUN_MS / 2) * 1e6;
        uint64_t n = 0;
        sample_begin();
        t0 = mono();
        while (used < lim && mono() - t0 < 5e8) {
            if (write(a->c.req[1], "x", 1) != 1 || read(a->c.ack[0], &x, 1) != 1) die("peer");
            int got = 0;
            double s = cpu();
            if (how == 0) {
                struct sockaddr_in f;
                socklen_t fl;
                for (;;) {
                    fl = sizeof f;
                    ssize_t k = recvfrom(fd, b[got & 63], 2048, MSG_DONTWAIT, (void *)&f, &fl);
                    if (k < 0) break;
                    got++;
                }
            } else
                for (;;) {
                    for (int i = 0; i < 32; i++) {
                        iv[i].iov_base = b[i];
                        iv[i].iov_len = slot;
                        struct msghdr *h = &m[i].msg_hdr;
                        h->msg_iov = &iv[i];
                        h->msg_iovlen = 1;
                        h->msg_name = &from[i];
                        h->msg_namelen = sizeof from[i];
                        h->msg_control = how == 2 ? ctl[i] : NULL;
                        h->msg_controllen = how == 2 ? 64 : 0;
                    }
                    int k = recvmmsg(fd, m, 32, MSG_DONTWAIT, NULL);
                    if (k <= 0) break;
                    if (how == 2) {
                        for (int i = 0; i < k; i++) {
                            struct cmsghdr *c = CMSG_FIRSTHDR(&m[i].msg_hdr);
                            int seg = m[i].msg_len;
                            if (c && c->cmsg_type == UDP_GRO) memcpy(&seg, CMSG_DATA(c), 4);
                            got += (m[i].msg_len + seg - 1) / seg;
                        }
                    } else
                        got += k;
                }
            used += cpu() - s;
            n += got;
        }
        if (r >= 0) sample(name, "ns/pkt", n ? used / n : -1);
    }
    stop_peer(peer);
    close(fd);
    close(a->c.req[0]);
    close(a->c.req[1]);
    close(a->c.ack[0]);
    close(a->c.ack[1]);
    free(a);
}
int cmd_recv(void) {
    int sizes[2] = {AUDIO, VIDEO};
    for (int s = 0; s < 2; s++) {
        recv_one("recvfrom", 0, sizes[s], 1);
        recv_one("recvmmsg(32)", 1, sizes[s], 1);
        recv_one("recvmmsg(32), sender used GSO x8", 1, sizes[s], 8);
        recv_one("recvmmsg(32) + UDP_GRO x8", 2, sizes[s], 8);
        recv_one("recvmmsg(32) + UDP_GRO x16", 2, sizes[s], 16);
    }
    return 0;
}
