# Waystation in a container.
#
#   docker build -t waystation .
#   docker run -d --name waystation --network host --read-only --cap-drop ALL --cap-add NET_BIND_SERVICE \
#     -v waystation:/var/lib/waystation waystation
#
# --network host: behind a bridge every client has the bridge's address, so that the limits per client and the records
# show one client. Where a bridge must be, exempt its gateway: -e WAYSTATION__LIMITS__EXEMPT=172.17.0.1 and publish the
# ports (-p 80:80 -p 3698:3698 -p 6201:6201).
#
# NET_BIND_SERVICE lets it listen on port 80 for Delivery Optimization:
#   -e WAYSTATION__LISTEN__HTTP=0.0.0.0:80,0.0.0.0:3698
# The right sits on the program's file, so keep it among the container's capabilities, or the program cannot be run.
#
# Settings by -e WAYSTATION__SECTION__KEY, or as waystation.toml in the volume. The volume is all that is written to.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin waystation \
 && strip --strip-debug target/release/waystation

FROM debian:bookworm-slim
COPY --from=build /src/target/release/waystation /usr/local/bin/waystation
# ca-certificates: the roots that origins over HTTPS are checked against. tzdata: the zones that bandwidth.timezone names. libcap2-bin is there for one command only.
RUN apt-get update \
 && apt-get install --no-install-recommends -y ca-certificates libcap2-bin tzdata \
 && setcap cap_net_bind_service=+ep /usr/local/bin/waystation \
 && apt-get purge -y --auto-remove libcap2-bin \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 waystation \
 && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/waystation --shell /usr/sbin/nologin waystation \
 && install -d -m 0700 -o waystation -g waystation /var/lib/waystation

# Every command in the container means this node: `docker exec waystation waystation status`.
ENV WAYSTATION__STORE__PATH=/var/lib/waystation
# What the allocator keeps for each thread is bounded by two pools: after a whole run of the catalog 129 MiB and not 169; see docs/SIZING.md.
ENV MALLOC_ARENA_MAX=2
VOLUME /var/lib/waystation
USER waystation
# HTTP, HTTPS. The control listener (6202) stays on the loopback.
EXPOSE 3698 6201
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["waystation", "health"]
ENTRYPOINT ["waystation"]
CMD ["serve"]
