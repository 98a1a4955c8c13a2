/* The binary frame of docs/protocol.md, in C99 without a library: SHA-256, HMAC and holter_frame(). */
#ifndef HOLTER_H
#define HOLTER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HOLTER_HEADER = 56, HOLTER_MAC = 8, HOLTER_LEAD_OFF = 1, HOLTER_GAP = 2, HOLTER_NO_T0 = 128 };

typedef struct { uint32_t state[8]; uint64_t length; uint8_t block[64]; } holter_sha256;

static uint32_t holter_ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void holter_sha256_block(holter_sha256 *s, const uint8_t *p)
{
    /* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4). */
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (holter_ror(a, 7) ^ holter_ror(a, 18) ^ a >> 3)
             + (holter_ror(b, 17) ^ holter_ror(b, 19) ^ b >> 10);
    }
    memcpy(v, s->state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t e = v[4], a = v[0];
        uint32_t t = v[7] + (holter_ror(e, 6) ^ holter_ror(e, 11) ^ holter_ror(e, 25)) + ((e & v[5]) ^ (~e & v[6]))
                   + k[i] + w[i];
        uint32_t u = (holter_ror(a, 2) ^ holter_ror(a, 13) ^ holter_ror(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t;
        v[0] = t + u;
    }
    for (int i = 0; i < 8; i++) s->state[i] += v[i];
}

static void holter_sha256_start(holter_sha256 *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, start, sizeof start);
    s->length = 0;
}

static void holter_sha256_add(holter_sha256 *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) {
        s->block[s->length++ % 64] = p[i];
        if (s->length % 64 == 0) holter_sha256_block(s, s->block);
    }
}

static void holter_sha256_end(holter_sha256 *s, uint8_t digest[32])
{
    uint64_t bits = s->length * 8;
    uint8_t byte = 0x80, zero = 0, tail[8];
    holter_sha256_add(s, &byte, 1);
    while (s->length % 64 != 56) holter_sha256_add(s, &zero, 1);
    for (int i = 0; i < 8; i++) tail[i] = (uint8_t)(bits >> (56 - 8 * i));
    holter_sha256_add(s, tail, 8);
    for (int i = 0; i < 32; i++) digest[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

static void holter_hmac(const uint8_t key[32], const void *data, size_t n, uint8_t mac[32])
{
    uint8_t pad[64];
    holter_sha256 s;
    for (int i = 0; i < 64; i++) pad[i] = (uint8_t)((i < 32 ? key[i] : 0) ^ 0x36);
    holter_sha256_start(&s);
    holter_sha256_add(&s, pad, 64);
    holter_sha256_add(&s, data, n);
    holter_sha256_end(&s, mac);
    for (int i = 0; i < 64; i++) pad[i] ^= 0x36 ^ 0x5c;
    holter_sha256_start(&s);
    holter_sha256_add(&s, pad, 64);
    holter_sha256_add(&s, mac, 32);
    holter_sha256_end(&s, mac);
}

static uint8_t *holter_put(uint8_t *p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) *p++ = (uint8_t)(value >> (8 * i));
    return p;
}

/* Writes one frame; returns its length.
 * out: HOLTER_HEADER + 2 * n + HOLTER_MAC bytes; key: the device's MAC key; device: at most 32 characters;
 * t0: of the first sample, microseconds since 1970 UTC (0 with HOLTER_NO_T0); millihertz: 250000 is 250 Hz;
 * samples: n microvolts, at most one second of them. */
static size_t holter_frame(uint8_t *out, const uint8_t key[32], const char *device, uint8_t flags, uint32_t seq,
                           int64_t t0, uint32_t millihertz, const int16_t *samples, uint16_t n)
{
    uint8_t *p = out, mac[32];
    memcpy(p, "HLTR", 4);
    p = holter_put(p + 4, 1, 1);
    p = holter_put(p, flags, 1);
    p = holter_put(p, n, 2);
    p = holter_put(p, seq, 4);
    p = holter_put(p, millihertz, 4);
    p = holter_put(p, (uint64_t)t0, 8);
    memset(p, 0, 32);
    memcpy(p, device, strlen(device) < 32 ? strlen(device) : 32);
    p += 32;
    for (int i = 0; i < n; i++) p = holter_put(p, (uint16_t)samples[i], 2);
    holter_hmac(key, out, (size_t)(p - out), mac);
    memcpy(p, mac, HOLTER_MAC);
    return (size_t)(p - out) + HOLTER_MAC;
}

#endif
