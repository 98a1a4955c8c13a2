"""Sends ECG each second, and again what was not acknowledged: python client.py URL DEVICE TOKEN [SECONDS]"""

import collections
import json
import math
import sys
import time
import urllib.error
import urllib.request

url, device, token = sys.argv[1:4]
seconds = int(sys.argv[4]) if len(sys.argv) > 4 else 10**9
waiting = collections.deque(maxlen=600)  # ten minutes; when nobody answers, the oldest go first


def beat(t):  # mV; your sensor's reading stands here
    return 1.2 * math.exp(-(((t % 0.8) - 0.3) ** 2) / 0.0002) + 0.2 * math.exp(-(((t % 0.8) - 0.55) ** 2) / 0.003)


start = round(time.time() * 1000)
for second in range(seconds):
    t0 = start + 1000 * second  # of the first sample, ms since the epoch; counted, so that samples follow without a gap
    samples = [round(beat(t0 / 1000 + n / 250), 3) for n in range(250)]
    waiting.append({"device_id": device, "t0": t0, "fs": 250, "seq": second, "samples": samples})
    time.sleep(max(0.0, (t0 + 1000) / 1000 - time.time()))
    while waiting:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            urllib.request.urlopen(urllib.request.Request(url, json.dumps(waiting[0]).encode(), headers), timeout=5)
        except urllib.error.HTTPError as error:
            print(error.code, error.read().decode(), file=sys.stderr)  # says which field, and what would be right
            if error.code in (401, 403, 429, 503):
                break  # not now: it stays in the queue; 400: never, so it is dropped
        except OSError:
            break
        waiting.popleft()
