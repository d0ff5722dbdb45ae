/* limit.h - what the parts of the limit program share: clocks, sockets, sinks, samples, AEADs. */
#ifndef LIMIT_H
#define LIMIT_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#endif

#define NS 300  /* subscribers / contexts / destinations */
#define NPUB 10 /* publishers */
#define BASEPORT 20000
#define VIDEO 1200
#define AUDIO 172

/* ---- util.c */
extern int RUNS;
extern double RUN_MS; /* CPU per run */
extern const char *tag_prefix, *sink_label;
extern int check; /* `limit check`: verify what arrives instead of timing */
double cpu(void);
double mono(void);
void die(const char *what);
void pin(int core);
void sample_begin(void);
void sample(const char *name, const char *unit, double value);
double probe(void);
uint32_t rnd(void);
void fill(void *p, size_t n);
void *xalloc(size_t n);
struct sockaddr_in addr(const char *ip, int port);
int usock(const char *ip, int port, int rcv, int snd);
pid_t spawn_peer(void (*fn)(void *), void *arg, int secs);
void stop_peer(pid_t p);
extern int sink_fd[NS], sink_n;
void sink_open(const char *ip, const char *mode);
uint64_t sink_drain_once(void);
void sink_close(void);
void drain_peer(void *arg);
typedef struct {
    char ctl[CMSG_SPACE(2)];
} __attribute__((aligned(8))) gctl;
void gso_ctl(struct msghdr *h, gctl *c, uint16_t seg);
typedef struct {
    volatile uint64_t sent, recvd;
    volatile int paced_us;
} shm_t;
extern shm_t *SH; /* between the generator process and the measured one */
void shared_open(void);
void enter_network(const char *path); /* a namespace; what is opened from now on is there */
extern struct sockaddr_in dst[NS];
extern int conn_fd[NS];
void destinations_open(const char *ip);
static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- aead.c: the ciphers of SRTP by whichever library, chosen at run time; AES-128-GCM where the name says no other */
#define KEY 48 /* bytes of every key; what a cipher does not need of them is left */
struct aead {
    const char *name;
    int tag;             /* bytes */
    int (*usable)(void); /* on this CPU */
    void *(*create)(const uint8_t key[KEY]);
    void (*destroy)(void *state);
    /* out of place; aadlen <= 32 */
    void (*seal)(void *state, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in, uint8_t *out,
                 int len, uint8_t tag[16]);
    int (*open)(void *state, const uint8_t iv[12], const uint8_t *aad, int aadlen, const uint8_t *in, uint8_t *out,
                int len, const uint8_t tag[16]);
};
enum { AEAD_ENGINE, AEAD_ENGINE_GCM256, AEAD_ENGINE_CM80, AEAD_OPENSSL, AEAD_VAES, AEAD_VAES256, AEADS };
extern const struct aead *const aeads[AEADS];
extern const struct aead aead_vaes;              /* aead_vaes.c */
extern const struct aead aead_vaes256;           /* aead_vaes256.c */
int aead_usable(int a);
const struct aead *aead_named(const char *name); /* NULL: no such, or not on this CPU */
void aead_selftest(void);

struct stream { /* one SRTP sending context */
    void *state[AEADS];
    uint8_t key[KEY], salt[12];
    uint32_t ssrc;
};
extern struct stream G[NS];
extern struct stream publishers[NPUB];
void stream_init(struct stream *s);
void streams_init(void);
void cm_seal(int c, const uint8_t iv12[12], uint8_t *p, int len);
void mkrtp(uint8_t *p, uint16_t seq, uint32_t ts, uint32_t ssrc);
/* SRTP AES-GCM IV (RFC 7714 section 8.1): 00 00 | SSRC | ROC | SEQ xor salt */
static inline void srtp_iv(uint8_t iv[12], const uint8_t salt[12], uint32_t ssrc_be, uint32_t roc_be, uint16_t seq_be) {
    memset(iv, 0, 2);
    memcpy(iv + 2, &ssrc_be, 4);
    memcpy(iv + 6, &roc_be, 4);
    memcpy(iv + 10, &seq_be, 2);
    for (int i = 0; i < 12; i++) iv[i] ^= salt[i];
}

/* ---- path.c: sources and whose they are, and an Edge's paths; direction 0 is from visitors to the Core, 1 back */
#define PATH_VISITORS 100
void source_learn(int k, const struct sockaddr_in *a);
int source_find(const struct sockaddr_in *a);
void path_ends(int core_port, int first_visitor, int visitors);
int path_move(int in_fd, int out_fd, int dir);

/* ---- the commands */
int cmd_calib(void);
int cmd_crypto(void);
int cmd_send(const char *ip, const char *sink, int level);
int cmd_uring(const char *ip, const char *sink);
int cmd_recv(void);
int cmd_sfu(const char *ip, const char *sink, int level);
int cmd_fanout(int argc, char **argv);
int cmd_turn(void);
int cmd_path(void);
int cmd_sink(const char *ip, int secs);
int cmd_serve_turn(int argc, char **argv);
int cmd_serve_path(int argc, char **argv);
int check_sfu(void);
int check_turn(void);
int check_path(void);
#endif
