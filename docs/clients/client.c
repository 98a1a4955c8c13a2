/* A device's loop: one frame a second over HTTP; what is not acknowledged is sent again with what comes next.
 *
 *   cc -std=c99 -O2 -o client client.c -lm
 *   ./client HOST PORT DEVICE MAC_KEY SECONDS [LEAD_OFF_AFTER]      MAC_KEY: 64 hexadecimal digits
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "holter.h"

enum { FS = 250, KEPT = 60, FRAME = HOLTER_HEADER + 2 * FS + HOLTER_MAC }; /* KEPT: seconds that the buffer holds */

static uint8_t kept[KEPT * FRAME];
static size_t filled;

static int16_t read_sensor(double t, int lead_off) /* your converter's reading stands here, in microvolts */
{
    double in_beat = fmod(t, 0.8);
    if (lead_off) return 0;
    return (int16_t)(1200 * exp(-pow(in_beat - 0.3, 2) / 0.0002) + 200 * exp(-pow(in_beat - 0.55, 2) / 0.003));
}

static int post(const char *host, const char *port) /* the HTTP status; 0: no answer */
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char head[256], answer[64] = "";
    int status = 0, line;
    if (getaddrinfo(host, port, &hints, &found)) return 0;
    int s = socket(found->ai_family, found->ai_socktype, 0);
    if (s >= 0 && connect(s, found->ai_addr, found->ai_addrlen) == 0) {
        line = snprintf(head, sizeof head,
                        "POST /ingest HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"
                        "Content-Type: application/vnd.holter.chunks\r\nContent-Length: %zu\r\n\r\n", host, filled);
        if (write(s, head, (size_t)line) == line && write(s, kept, filled) == (ssize_t)filled
            && read(s, answer, sizeof answer - 1) > 0)
            sscanf(answer, "HTTP/1.1 %d", &status);
    }
    if (s >= 0) close(s);
    freeaddrinfo(found);
    return status;
}

int main(int argc, char **argv)
{
    uint8_t key[32];
    if (argc < 6 || strlen(argv[4]) != 64) return fprintf(stderr, "HOST PORT DEVICE MAC_KEY SECONDS [LEAD_OFF_AFTER]\n"), 2;
    for (int i = 0; i < 32; i++) sscanf(argv[4] + 2 * i, "%2hhx", &key[i]);
    long seconds = atol(argv[5]), off = argc > 6 ? atol(argv[6]) : seconds;
    struct timespec next;
    clock_gettime(CLOCK_REALTIME, &next);
    for (long second = 0; second < seconds; second++) {
        int64_t t0 = next.tv_sec * 1000000LL + next.tv_nsec / 1000;
        int16_t samples[FS];
        int lead_off = second >= off;
        for (int i = 0; i < FS; i++) samples[i] = read_sensor((double)t0 / 1e6 + (double)i / FS, lead_off);
        next.tv_sec++; /* the second is over: it is complete */
        clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &next, NULL);
        if (filled == sizeof kept) memmove(kept, kept + FRAME, filled -= FRAME); /* full: the oldest goes */
        filled += holter_frame(kept + filled, key, argv[3], lead_off ? HOLTER_LEAD_OFF : 0, (uint32_t)second, t0,
                               1000 * FS, samples, FS);
        int status = post(argv[1], argv[2]);
        if (status == 202 || status == 400 || status == 413) filled = 0; /* on disk; or never to be taken */
        if (status != 202) fprintf(stderr, "second %ld: status %d\n", second, status);
    }
    return filled != 0;
}
