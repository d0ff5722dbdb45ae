/* util.c - clocks, samples, sockets and sinks of the limit program. */
#include "limit.h"

int RUNS = 2;
double RUN_MS = 20;
const char *tag_prefix = "", *sink_label;
int check;
shm_t *SH;
struct sockaddr_in dst[NS];
int conn_fd[NS];

/* ------------------------------------------------------------------ util */
static double clk(clockid_t c) {
    struct timespec t;
    clock_gettime(c, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}
double cpu(void) {
    return clk(CLOCK_PROCESS_CPUTIME_ID);
}
double mono(void) {
    return clk(CLOCK_MONOTONIC);
}
void die(const char *s) {
    perror(s);
    exit(1);
}
void pin(int c) {
    cpu_set_t s;
    CPU_ZERO(&s);
    CPU_SET(c, &s);
    sched_setaffinity(0, sizeof s, &s);
}
/* how much of the core this hyperthread gets right now: independent adds per ns of CPU */
double probe(void) {
    double t = cpu();
    uint64_t a = 1, b = 2, c = 3, d = 4;
    for (int i = 0; i < 120000; i++) {
#if defined(__x86_64__)
        __asm__ volatile("add $1,%0\n add $1,%1\n add $1,%2\n add $1,%3" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
#elif defined(__aarch64__)
        __asm__ volatile("add %0,%0,#1\n add %1,%1,#1\n add %2,%2,#1\n add %3,%3,#1"
                         : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
#else
        a++, b++, c++, d++;
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
#endif
    }
    return 480000 / (cpu() - t);
}
static double last_probe;
void sample_begin(void) {
    last_probe = probe();
}
void sample(const char *name, const char *unit,
            double v) { /* ends a sample; may be called for several metrics of one run */
    if (check) return;
    if (!(v > 0)) {
        last_probe = 0;
        return;
    } /* the peer process got no CPU in this run: nothing was measured */
    static double pr;
    if (last_probe > 0) {
        double p = probe();
        pr = p < last_probe ? p : last_probe;
        last_probe = 0;
    }
    printf("@\t%s%s\t%s\t%.4f\t%.2f\n", tag_prefix, name, unit, v, pr);
    fflush(stdout);
}
static uint64_t rng = 88172645463325252ull;
uint32_t rnd(void) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 16);
}
void fill(void *p, size_t n) {
    uint8_t *b = p;
    for (size_t i = 0; i < n; i++) b[i] = (uint8_t)rnd();
}
void *xalloc(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    return p;
}
struct sockaddr_in addr(const char *ip, int port) {
    struct sockaddr_in a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = inet_addr(ip);
    return a;
}
int usock(const char *ip, int port, int rcv, int snd) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (rcv) setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcv, sizeof rcv);
    if (snd) setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &snd, sizeof snd);
    struct sockaddr_in a = addr(ip, port);
    if (bind(fd, (void *)&a, sizeof a)) die("bind");
    return fd;
}
/* the peer process: killed when the parent dies; exits by itself after `secs` */
pid_t spawn_peer(void (*fn)(void *), void *arg, int secs) {
    pid_t p = fork();
    if (p < 0) die("fork");
    if (p == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(secs);
        pin(1);
        fn(arg);
        _exit(0);
    }
    return p;
}
void stop_peer(pid_t p) { /* let it die on either CPU: a busy loop of another session can starve CPU 1 for seconds */
    if (p <= 0) return;
    cpu_set_t s;
    CPU_ZERO(&s);
    CPU_SET(0, &s);
    CPU_SET(1, &s);
    sched_setaffinity(p, sizeof s, &s);
    kill(p, SIGKILL);
    waitpid(p, NULL, 0);
}

/* ------------------------------------------------------------------ sinks */
/* drop : every receiver socket has the least SO_RCVBUF and is full: the whole
 *        receive path up to the socket runs, then the packet is freed.
 * queue: big buffers; the caller empties them between runs.
 * drain: big buffers; another process on CPU 1 empties them all the time.
 * none : no receiver here (another netns, or an ifb device that frees). */
int sink_fd[NS], sink_n;
static int sink_poll = -1; /* of the drained ones: whoever receives waits, and waking it is a cost of every packet */
static void sink_watch(void) {
    if ((sink_poll = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    for (int i = 0; i < sink_n; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = sink_fd[i]};
        if (epoll_ctl(sink_poll, EPOLL_CTL_ADD, sink_fd[i], &event)) die("epoll_ctl");
    }
}
void sink_open(const char *ip, const char *mode) {
    sink_n = 0;
    if (!strcmp(mode, "none")) return;
    int buf = !strcmp(mode, "drop") ? 1 : 200 << 10;
    for (int i = 0; i < NS; i++) sink_fd[i] = usock(ip, BASEPORT + i, buf, 0);
    sink_n = NS;
    if (!strcmp(mode, "drain")) sink_watch();
    if (buf == 1) { /* fill them */
        int s = socket(AF_INET, SOCK_DGRAM, 0);
        char b[1400] = {0};
        for (int k = 0; k < 4; k++)
            for (int i = 0; i < NS; i++) {
                struct sockaddr_in a = addr(ip, BASEPORT + i);
                sendto(s, b, sizeof b, 0, (void *)&a, sizeof a);
            }
        close(s);
    }
}
uint64_t sink_drain_once(void) {
    static char junk[64][16];
    static struct mmsghdr m[64];
    static struct iovec iv[64];
    static int init;
    if (!init) {
        for (int i = 0; i < 64; i++) {
            iv[i].iov_base = junk[i];
            iv[i].iov_len = 16;
            m[i].msg_hdr.msg_iov = &iv[i];
            m[i].msg_hdr.msg_iovlen = 1;
        }
        init = 1;
    }
    uint64_t tot = 0;
    static struct epoll_event ready[NS];
    int count = sink_poll < 0 ? sink_n : epoll_wait(sink_poll, ready, NS, 0);
    for (int i = 0; i < count; i++)
        for (;;) {
            int fd = sink_poll < 0 ? sink_fd[i] : ready[i].data.fd;
            int n = recvmmsg(fd, m, 64, MSG_DONTWAIT | MSG_TRUNC, NULL);
            if (n <= 0) break;
            tot += n;
            if (n < 64) break;
        }
    return tot;
}
void sink_close(void) {
    for (int i = 0; i < sink_n; i++) close(sink_fd[i]);
    if (sink_poll >= 0) close(sink_poll);
    sink_n = 0, sink_poll = -1;
}
void drain_peer(void *arg) {
    (void)arg;
    for (;;) sink_drain_once();
}

void gso_ctl(struct msghdr *h, gctl *c, uint16_t seg) {
    memset(c, 0, sizeof *c);
    h->msg_control = c->ctl;
    h->msg_controllen = sizeof c->ctl;
    struct cmsghdr *m = CMSG_FIRSTHDR(h);
    m->cmsg_level = SOL_UDP;
    m->cmsg_type = UDP_SEGMENT;
    m->cmsg_len = CMSG_LEN(2);
    memcpy(CMSG_DATA(m), &seg, 2);
}
void enter_network(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET)) die(path);
    close(fd);
}
void shared_open(void) {
    SH = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (SH == MAP_FAILED) die("mmap");
}
void destinations_open(const char *ip) { /* NS addresses, and a connected socket for each */
    for (int i = 0; i < NS; i++) {
        dst[i] = addr(ip, BASEPORT + i);
        conn_fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int sz = 8 << 20;
        setsockopt(conn_fd[i], SOL_SOCKET, SO_SNDBUFFORCE, &sz, sizeof sz);
        if (connect(conn_fd[i], (void *)&dst[i], sizeof dst[i])) die("connect");
    }
}
