/* main.c - what this machine can do at best for an SFU / TURN data plane.
 *
 *   limit check                         verify the ciphers and the SFU, TURN and path loops (what arrives is right)
 *   limit calib                         spin loop, syscall, clock
 *   limit crypto                        SRTP cipher cost per packet
 *   limit send  DSTIP SINK [brief|gso]  UDP send cost; SINK: drop | queue | drain | none
 *   limit uring DSTIP SINK              io_uring send, SEND_ZC
 *   limit recv                          UDP receive cost
 *   limit sfu   DSTIP SINK [brief|gso]  one publisher -> N subscribers
 *   limit fanout CIPHER RECEIVERS SIZE PACKETS_PER_S SECONDS [PUBLISHERS BURST [SERVER PEERS NAMESPACE]]
 *                                       one such run, beside the engine's
 *   limit ciphers                       ciphers usable on this machine: engine (AES-128-GCM), engine-gcm256,
 *                                       engine-cm80; AES-128-GCM by openssl, vaes, vaes256
 *   limit turn                          ChannelData relay, both directions
 *   limit path                          an Edge's paths, both directions, bursts and single packets
 *   limit serve-turn LISTENER RELAYED CLIENTS PEERS LANES
 *   limit serve-path PUBLIC LINK CORE VISITORS LANES
 *                                       the same as servers on these ports, for `mediaserver-load relay`
 *   limit sink  IP SECONDS              300 receivers on IP (for veth; run in the other netns)
 *
 * CPU = CLOCK_PROCESS_CPUTIME_ID of the measured process (one thread; io-wq threads would be counted). Without
 * IRQ_TIME_ACCOUNTING, softirq work that runs in a thread's context is charged to that thread.
 * Each sample is printed raw, for agg.py:   @ <tab> name <tab> unit <tab> value <tab> probe
 * probe = independent adds per ns on this core just before/after the sample (the lower of the two). A vCPU is one
 * hyperthread and its sibling belongs to somebody else: ~6/ns with a busy sibling, ~11/ns without.
 */
#include "limit.h"

static int level_of(int argc, char **argv) { /* 0: GSO only */
    return argc <= 4 ? 2 : !strcmp(argv[4], "brief") ? 1 : 0;
}
static int cmd_check(void) {
    aead_selftest();
    int wrong = check_sfu();
    wrong |= check_turn();
    return check_path() || wrong;
}
static int cmd_ciphers(void) {
    for (int a = 0; a < AEADS; a++)
        if (aead_usable(a)) printf("%s\n", aeads[a]->name);
    return 0;
}

int main(int argc, char **argv) {
    struct rlimit rl; /* 300 receivers and 300 connected senders */
    if (!getrlimit(RLIMIT_NOFILE, &rl)) {
        rl.rlim_cur = rl.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &rl)) perror("setrlimit");
    }
    pin(0);
    alarm(90);
    signal(SIGPIPE, SIG_IGN);
    sink_label = getenv("LIMIT_SINK");
    if (getenv("LIMIT_TAG")) tag_prefix = getenv("LIMIT_TAG");
    if (getenv("LIMIT_RUNS")) RUNS = atoi(getenv("LIMIT_RUNS"));
    if (getenv("LIMIT_RUN_MS")) RUN_MS = atof(getenv("LIMIT_RUN_MS"));
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "check")) return cmd_check();
    if (!strcmp(what, "calib")) return cmd_calib();
    if (!strcmp(what, "ciphers")) return cmd_ciphers();
    if (!strcmp(what, "crypto")) return cmd_crypto();
    if (!strcmp(what, "recv")) return cmd_recv();
    if (!strcmp(what, "turn")) return cmd_turn();
    if (!strcmp(what, "path")) return cmd_path();
    if (!strcmp(what, "serve-turn")) return cmd_serve_turn(argc, argv);
    if (!strcmp(what, "serve-path")) return cmd_serve_path(argc, argv);
    if (!strcmp(what, "fanout")) return cmd_fanout(argc, argv);
    if (argc > 3 && !strcmp(what, "send")) return cmd_send(argv[2], argv[3], level_of(argc, argv));
    if (argc > 3 && !strcmp(what, "uring")) return cmd_uring(argv[2], argv[3]);
    if (argc > 3 && !strcmp(what, "sfu")) return cmd_sfu(argv[2], argv[3], level_of(argc, argv));
    if (argc > 3 && !strcmp(what, "sink")) return cmd_sink(argv[2], atoi(argv[3]));
    fputs("usage: see the top of main.c\n", stderr);
    return 2;
}
