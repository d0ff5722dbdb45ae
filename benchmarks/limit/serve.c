/* serve.c - the floors of a relay and of an Edge as servers, for the load of `mediaserver-load relay`: no authentication,
 * everybody is known by port, until the parent ends. UDP_GRO in, UDP_SEGMENT out, one system call for what came at once. */
#include "limit.h"

#define LANES 512

static int serving(int port, int epoll, uint32_t name) {
    int fd = usock("127.0.0.1", port, 8 << 20, 8 << 20), one = 1;
    setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = name};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
    return fd;
}
static void begin(void) {
    alarm(0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    puts("ready");
    fflush(stdout);
}
static int row(int argc, char **argv, int *numbers, int count) {
    if (argc != 2 + count) return 0;
    for (int i = 0; i < count; i++) numbers[i] = atoi(argv[2 + i]);
    return numbers[count - 1] > 0 && numbers[count - 1] <= LANES;
}

/* ------------------------------------------------------------------ TURN with ChannelData */
static struct sockaddr_in client[LANES], peer[LANES];
static int listener, relay[LANES];
static const uint16_t CHANNEL = 0x4000;

/* One round: what was received, and what becomes of it. */
enum { SLOTS = 64, AT_ONCE = 16, SEGMENTS = 64 };
static uint8_t rb[SLOTS][65536] __attribute__((aligned(64)));
static struct mmsghdr rm[SLOTS], down[SLOTS];
static struct iovec rv[SLOTS], ov[SLOTS][2 * SEGMENTS];
static char rc[SLOTS][64];
static struct sockaddr_in from[SLOTS];
static uint8_t heads[SLOTS][SEGMENTS][4];
static gctl og[SLOTS];
static int downs;

static int take(int fd, int slot) {
    for (int i = slot; i < slot + AT_ONCE; i++) {
        struct msghdr *h = &rm[i].msg_hdr;
        rv[i] = (struct iovec){rb[i], sizeof rb[i]};
        h->msg_iov = &rv[i], h->msg_iovlen = 1;
        h->msg_name = &from[i], h->msg_namelen = sizeof from[i];
        h->msg_control = rc[i], h->msg_controllen = sizeof rc[i];
    }
    int n = recvmmsg(fd, rm + slot, AT_ONCE, MSG_DONTWAIT, NULL);
    return n > 0 ? n : 0;
}
/* What goes to a peer leaves at once, by the socket of its lane; what goes to clients waits for the end of the round. */
static void relay_message(int name, int slot) {
    uint8_t *p = rb[slot];
    struct cmsghdr *c = CMSG_FIRSTHDR(&rm[slot].msg_hdr);
    int len = rm[slot].msg_len, seg = len, up = name == LANES, n = 0, lane = up ? source_find(&from[slot]) : name;
    if (c && c->cmsg_type == UDP_GRO) memcpy(&seg, CMSG_DATA(c), 4);
    if (lane < 0 || (!up && from[slot].sin_port != peer[lane].sin_port)) return;
    for (int o = 0, i = 0; o < len && i < SEGMENTS; o += seg, i++) {
        int size = seg < len - o ? seg : len - o;
        uint16_t number, l;
        if (up) {
            if (size < 4) return;
            memcpy(&number, p + o, 2);
            memcpy(&l, p + o + 2, 2);
            if (ntohs(number) != CHANNEL || ntohs(l) > size - 4) return;
            ov[slot][n++] = (struct iovec){p + o + 4, ntohs(l)};
        } else {
            number = htons(CHANNEL);
            l = htons(size);
            memcpy(heads[slot][i], &number, 2);
            memcpy(heads[slot][i] + 2, &l, 2);
            ov[slot][n++] = (struct iovec){heads[slot][i], 4};
            ov[slot][n++] = (struct iovec){p + o, size};
        }
    }
    struct msghdr h = {.msg_name = up ? &peer[lane] : &client[lane], .msg_namelen = sizeof client[lane]};
    h.msg_iov = ov[slot];
    h.msg_iovlen = n;
    if (len > seg) gso_ctl(&h, &og[slot], up ? seg - 4 : seg + 4);
    if (up)
        sendmsg(relay[lane], &h, MSG_DONTWAIT);
    else
        down[downs++].msg_hdr = h;
}
static void flush_down(void) {
    for (int d = 0; d < downs;) {
        int n = sendmmsg(listener, down + d, downs - d, MSG_DONTWAIT);
        d += n > 0 ? n : 1;
    }
    downs = 0;
}
int cmd_serve_turn(int argc, char **argv) {
    int ports[5]; /* listener, relayed, clients, peers: the first ports of a row; lanes */
    if (!row(argc, argv, ports, 5)) return 2;
    int ep = epoll_create1(0);
    listener = serving(ports[0], ep, LANES);
    for (int k = 0; k < ports[4]; k++) {
        relay[k] = serving(ports[1] + k, ep, k);
        client[k] = addr("127.0.0.1", ports[2] + k);
        peer[k] = addr("127.0.0.1", ports[3] + k);
        source_learn(k, &client[k]);
    }
    begin();
    for (;;) {
        struct epoll_event ev[64];
        int ready = epoll_wait(ep, ev, 64, -1), slot = 0;
        for (int q = 0; q < ready; q++) {
            int name = ev[q].data.u32;
            if (slot + AT_ONCE > SLOTS) {
                flush_down();
                slot = 0;
            }
            int n = take(name == LANES ? listener : relay[name], slot);
            for (int i = slot; i < slot + n; i++) relay_message(name, i);
            slot += n;
        }
        flush_down();
    }
}

/* ------------------------------------------------------------------ an Edge's paths */
int cmd_serve_path(int argc, char **argv) {
    int ports[5]; /* public, link, core; the first of a row: visitors; lanes */
    if (!row(argc, argv, ports, 5) || ports[4] > PATH_VISITORS) return 2;
    int ep = epoll_create1(0);
    int public = serving(ports[0], ep, 0), link = serving(ports[1], ep, 1);
    path_ends(ports[2], ports[3], ports[4]);
    begin();
    for (;;) {
        struct epoll_event ev[2];
        int ready = epoll_wait(ep, ev, 2, -1);
        for (int q = 0; q < ready; q++) {
            if (ev[q].data.u32)
                path_move(link, public, 1);
            else
                path_move(public, link, 0);
        }
    }
}
