# Two images of one distribution: `operator` has no numerics, `services` has no Kubernetes client.
#   docker build --target operator -t holter-operator .
#   docker build --target services -t holter-services .
# Both run as a user without a name on a read-only root file system, with /tmp (and what is mounted) as all they write.

FROM python:3.11-slim-bookworm AS python
ENV PATH=/opt/holter/bin:$PATH \
    LANG=C.UTF-8 \
    HOME=/tmp \
    USER=holter \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1


# Holter's own wheel, and a pip that the images do without.
FROM python AS wheel
COPY locks/build.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip \
    python -m venv /opt/build && /opt/build/bin/pip install --quiet --require-hashes -r /locks/build.txt
COPY pyproject.toml README.md LICENSE /source/
COPY crds /source/crds
COPY operator /source/operator
COPY services /source/services
RUN cd /source && /opt/build/bin/hatchling build -t wheel -d /wheels


# Libraries come before sources: a change of ours does not install them again.
FROM python AS operator-packages
COPY --from=wheel /opt/build /opt/build
COPY locks/operator.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip \
    python -m venv --without-pip /opt/holter \
    && /opt/build/bin/pip --python /opt/holter/bin/python install --quiet --no-compile --require-hashes -r /locks/operator.txt
COPY --from=wheel /wheels /wheels
RUN /opt/build/bin/pip --python /opt/holter/bin/python install --quiet --no-compile --no-deps --no-index /wheels/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/holter/lib


FROM python AS services-packages
ENV NUMBA_CACHE_DIR=/opt/holter/numba
COPY --from=wheel /opt/build /opt/build
COPY locks/services.txt /locks/
# Machine code for any node, with AVX2 or without, is compiled last (holter/model/jit.py).
# Libraries' own tests are a tenth of the image.
RUN --mount=type=cache,target=/tmp/.cache/pip \
    python -m venv --without-pip /opt/holter \
    && /opt/build/bin/pip --python /opt/holter/bin/python install --quiet --no-compile --require-hashes -r /locks/services.txt \
    && find /opt/holter/lib -type d -name tests -prune -exec rm -r {} +
COPY --from=wheel /wheels /wheels
RUN /opt/build/bin/pip --python /opt/holter/bin/python install --quiet --no-compile --no-deps --no-index /wheels/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/holter/lib \
    && NUMBA_CPU_NAME=generic python -c "from holter.inference.warm import warm; warm()" \
    && python -c "from holter.inference.warm import warm; warm()"


FROM python AS operator
LABEL org.opencontainers.image.title="holter-operator" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=operator-packages /opt/holter /opt/holter
USER 10001:10001
CMD ["holter", "--help"]


FROM python AS services
LABEL org.opencontainers.image.title="holter-services" org.opencontainers.image.licenses="Apache-2.0"
ENV NUMBA_CACHE_DIR=/opt/holter/numba
COPY --from=services-packages /opt/holter /opt/holter
USER 10001:10001
CMD ["holter", "--help"]
