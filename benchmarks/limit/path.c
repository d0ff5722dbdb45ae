/* path.c - an Edge's data path: visitors' datagrams into frames for the Core's shard, and frames back into datagrams.
 * One public socket, one socket for the link, 8 bytes of header per frame, a hash of the source one way and a table by
 * index the other way; frames of one burst share datagrams of up to MTU bytes, equal ones leave as one GSO message. */
#include "limit.h"

#define NV PATH_VISITORS
#define PUBLIC_PORT 19200
#define LINK_PORT 19201
#define CORE_PORT 19202    /* the Core's end: it sends frames, and is the sink of those that come */
#define VISITOR_PORT 23000
#define MTU 1472
#define HEAD 8
#define PB 8               /* packets of a burst */
#define HASH 1024
enum { UP, DOWN };
typedef struct {
    int dir, burst, size;
} path_arg;
static int visitor_fd[NV], core_fd, good, bad;
static struct sockaddr_in visitor[NV], core;

static void head(uint8_t *p, int len, uint32_t path) {
    uint16_t l = htons(len);
    uint32_t id = htonl(1u << 16 | path);
    p[0] = 1, p[1] = 0;
    memcpy(p + 2, &l, 2);
    memcpy(p + 4, &id, 4);
}
/* Frames of `count` packets of `size` bytes for visitor k, side by side; how many of them share a datagram. */
static int frames(uint8_t *b, int size, int count, int k) {
    int each = size + HEAD, per = MTU / each ? MTU / each : 1;
    for (int i = 0; i < count; i++) {
        head(b + i * each, size, k);
        memset(b + i * each + HEAD, k, size);
    }
    return per > count ? count : per;
}
static void path_gen(void *a) {
    path_arg *t = a;
    static uint8_t b[PB * 1400];
    static gctl g;
    struct msghdr h;
    for (int k = 0;; k = k + 1 == NV ? 0 : k + 1) {
        int count = t->burst ? PB : 1, seg = t->size, len = count * t->size;
        struct sockaddr_in to = addr("127.0.0.1", t->dir == UP ? PUBLIC_PORT : LINK_PORT);
        if (t->dir == DOWN) {
            int each = t->size + HEAD;
            seg = each * frames(b, t->size, count, k);
            len = count * each;
        } else
            memset(b, k, len);
        struct iovec v = {b, len};
        memset(&h, 0, sizeof h);
        h.msg_name = &to, h.msg_namelen = sizeof to, h.msg_iov = &v, h.msg_iovlen = 1;
        if (len > seg) gso_ctl(&h, &g, seg);
        /* a single packet comes when the one before it has left, so that none find themselves in one batch */
        while (SH->sent - SH->recvd >= (t->burst ? 256u : 1u)) relax();
        if (sendmsg(t->dir == UP ? visitor_fd[k] : core_fd, &h, 0) > 0) SH->sent += count;
    }
}

static struct {
    uint32_t key;
    int visitor;
} table[HASH];
static unsigned place(uint32_t key) {
    return key * 2654435761u >> 22;
}
static uint32_t key_of(const struct sockaddr_in *a) {
    return a->sin_addr.s_addr ^ (uint32_t)a->sin_port << 8 ^ 1;
}
void source_learn(int k, const struct sockaddr_in *a) {
    uint32_t key = key_of(a);
    unsigned i = place(key);
    while (table[i].key) i = (i + 1) % HASH;
    table[i].key = key;
    table[i].visitor = k;
}
int source_find(const struct sockaddr_in *a) {
    uint32_t key = key_of(a);
    for (unsigned i = place(key); table[i].key; i = (i + 1) % HASH)
        if (table[i].key == key) return table[i].visitor;
    return -1;
}

/* What leaves: datagrams side by side in one buffer, runs of equal ones as one message. */
static uint8_t ob[64 * 65536];
static struct {
    int start, len, visitor;
} out[8192];
static struct mmsghdr om[8192];
static struct iovec ov[8192];
static gctl og[8192];
static int outs, used;
static void put(int k, const uint8_t *p, int len, int dir) {
    int more = len + (dir == UP ? HEAD : 0);
    uint8_t *to = ob + used;
    if (dir == UP) {
        head(to, len, k);
        to += HEAD;
    }
    memcpy(to, p, len);
    if (dir == UP && outs && out[outs - 1].len + more <= MTU)
        out[outs - 1].len += more;
    else {
        out[outs].start = used;
        out[outs].len = more;
        out[outs++].visitor = k;
    }
    used += more;
}
static void flush_out(int fd, int dir) {
    int m = 0;
    for (int i = 0; i < outs; m++) {
        int j = i + 1, len = out[i].len;
        while (j < outs && j - i < 64 && (dir == UP || out[j].visitor == out[i].visitor) && out[j].len <= out[i].len &&
               out[j - 1].len == out[i].len && len + out[j].len < 65000)
            len += out[j++].len;
        struct msghdr *h = &om[m].msg_hdr;
        memset(h, 0, sizeof *h);
        ov[m].iov_base = ob + out[i].start;
        ov[m].iov_len = len;
        h->msg_iov = &ov[m], h->msg_iovlen = 1;
        h->msg_name = dir == UP ? &core : &visitor[out[i].visitor];
        h->msg_namelen = sizeof core;
        if (j - i > 1) gso_ctl(h, &og[m], out[i].len);
        i = j;
    }
    for (int d = 0; d < m;) {
        int n = sendmmsg(fd, om + d, m - d, MSG_DONTWAIT);
        d += n > 0 ? n : 1;
    }
    outs = used = 0;
}
int path_move(int in_fd, int out_fd, int dir) { /* reads a socket once; what came leaves; how many packets */
    static uint8_t rb[64][65536] __attribute__((aligned(64)));
    static struct mmsghdr rm[64];
    static struct iovec rv[64];
    static char rc[64][64];
    static struct sockaddr_in from[64];
    for (int i = 0; i < 64; i++) {
        rv[i].iov_base = rb[i];
        rv[i].iov_len = sizeof rb[i];
        struct msghdr *h = &rm[i].msg_hdr;
        h->msg_iov = &rv[i], h->msg_iovlen = 1;
        h->msg_name = &from[i], h->msg_namelen = sizeof from[i];
        h->msg_control = rc[i], h->msg_controllen = 64;
    }
    int n = recvmmsg(in_fd, rm, 64, MSG_DONTWAIT, NULL), now = 0;
    for (int i = 0; i < n; i++) {
        int len = rm[i].msg_len, seg = len, k = dir == UP ? source_find(&from[i]) : -1;
        struct cmsghdr *c = CMSG_FIRSTHDR(&rm[i].msg_hdr);
        if (c && c->cmsg_type == UDP_GRO) memcpy(&seg, CMSG_DATA(c), 4);
        for (int o = 0; dir == UP && k >= 0 && o < len; o += seg, now++)
            put(k, rb[i] + o, seg < len - o ? seg : len - o, UP);
        for (int o = 0; dir == DOWN && o + HEAD <= len;) { /* frames end where segments do */
            uint16_t l;
            uint32_t id;
            memcpy(&l, rb[i] + o + 2, 2);
            memcpy(&id, rb[i] + o + 4, 4);
            unsigned to = ntohl(id) & 0xffff;
            if (ntohl(id) >> 16 != 1 || to >= NV || o + HEAD + ntohs(l) > len) break;
            put(to, rb[i] + o + HEAD, ntohs(l), DOWN);
            o += HEAD + ntohs(l);
            now++;
        }
    }
    flush_out(out_fd, dir);
    return now;
}
void path_ends(int core_port, int first_visitor, int visitors) {
    core = addr("127.0.0.1", core_port);
    memset(table, 0, sizeof table);
    for (int k = 0; k < visitors; k++) {
        visitor[k] = addr("127.0.0.1", first_visitor + k);
        source_learn(k, &visitor[k]);
    }
}
static void look(int dir, int size) { /* check mode: what the Core's end, or the visitors, got */
    static uint8_t p[65536];
    for (int i = 0; i < (dir == UP ? 1 : NV); i++)
        for (;;) {
            ssize_t n = recv(dir == UP ? core_fd : visitor_fd[i], p, sizeof p, MSG_DONTWAIT);
            if (n < 0) break;
            if (dir == DOWN) {
                *(n == size && p[0] == i ? &good : &bad) += 1;
                continue;
            }
            for (ssize_t o = 0; o < n; o += size + HEAD) {
                uint32_t id;
                memcpy(&id, p + o + 4, 4);
                *(n - o >= size + HEAD && p[o] == 1 && p[o + HEAD] == (ntohl(id) & 0xffff) ? &good : &bad) += 1;
            }
        }
}
static void path_one(int dir, int burst, int size) {
    int one = 1, pub = usock("127.0.0.1", PUBLIC_PORT, 64 << 20, 8 << 20);
    int lnk = usock("127.0.0.1", LINK_PORT, 64 << 20, 8 << 20), in = dir == UP ? pub : lnk;
    setsockopt(in, SOL_UDP, UDP_GRO, &one, sizeof one);
    core_fd = usock("127.0.0.1", CORE_PORT, check ? 16 << 20 : 1, 8 << 20);
    path_ends(CORE_PORT, VISITOR_PORT, NV);
    for (int k = 0; k < NV; k++) visitor_fd[k] = usock("127.0.0.1", VISITOR_PORT + k, check ? 1 << 20 : 1, 0);
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    epoll_ctl(ep, EPOLL_CTL_ADD, in, &e);
    SH->sent = SH->recvd = 0;
    path_arg arg = {dir, burst, size};
    pid_t peer = spawn_peer(path_gen, &arg, 20);
    for (int r = -1; r < RUNS; r++) {
        sample_begin();
        double c0 = cpu(), t0 = mono(), length = r < 0 ? 2.5e7 : 5e7;
        uint64_t moved = 0;
        while (mono() - t0 < length) {
            struct epoll_event ev;
            if (epoll_wait(ep, &ev, 1, 50) < 1) continue;
            int now = path_move(in, dir == UP ? lnk : pub, dir);
            moved += now;
            SH->recvd += now;
        }
        double c = cpu() - c0;
        char name[96];
        snprintf(name, sizeof name, "path %s %dB %s", dir == UP ? "visitor->core" : "core->visitor", size,
                 burst ? "bursts of 8" : "single packets");
        if (r >= 0) sample(name, "us CPU/relayed pkt", moved ? c / moved / 1e3 : -1);
    }
    stop_peer(peer);
    if (check) look(dir, size);
    close(pub), close(lnk), close(core_fd), close(ep);
    for (int k = 0; k < NV; k++) close(visitor_fd[k]);
}
static void all(void) {
    int sizes[2] = {AUDIO, VIDEO};
    for (int s = 0; s < 2; s++)
        for (int dir = UP; dir <= DOWN; dir++)
            for (int burst = 0; burst < 2; burst++) path_one(dir, burst, sizes[s]);
}
int cmd_path(void) {
    shared_open();
    all();
    return 0;
}
int check_path(void) {
    good = bad = 0;
    all();
    printf("check: %d datagrams and frames of paths had the right length, header and visitor, %d wrong\n", good, bad);
    return bad || !good;
}
