#include "guest_peer.h"

#include "bare_shell.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace bench {
namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void write_all(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    ssize_t count = ::send(fd, bytes, size, MSG_NOSIGNAL);
    if (count <= 0) die("writing to the guest's bench port");
    bytes += count;
    size -= static_cast<std::size_t>(count);
  }
}

}  // namespace

GuestPeer::GuestPeer(attest::Config config) : driver_(attest::make_driver(std::move(config))) {
  machine().start();
}

GuestPeer::GuestPeer(const std::string& work_dir, int memory_mb,
                     std::vector<std::string> extra_args)
    : GuestPeer([&] {
        attest::Config config;
        auto& guest = config.machines["guest"];
        guest.memory_mb = memory_mb;
        guest.extra_args = {"-chardev",
                            "socket,id=bench,path=" + work_dir + "/bench-port,server=on,wait=off",
                            "-device", "virtserialport,chardev=bench,name=bench.port"};
        guest.extra_args.insert(guest.extra_args.end(), extra_args.begin(), extra_args.end());
        guest.ready = attest::Ready::multi_user;
        return config;
      }()) {
  fd_ = connect_to(work_dir + "/bench-port");
  install("bench.port");
}

GuestPeer GuestPeer::in_container() {
  attest::Config config;
  config.machines["guest"].backend = "nspawn";
  config.machines["guest"].ready = attest::Ready::multi_user;
  return GuestPeer(std::move(config), Container{});
}

GuestPeer::GuestPeer(attest::Config config, Container) : GuestPeer(std::move(config)) {
  listener_ = listen_at((machine().shared_dir() / "bench.sock").string());
  install("/tmp/shared/bench.sock");
}

void GuestPeer::install(const std::string& port) {
  machine().copy_from_host(ATTEST_BENCH_PEER, "/run/bench-peer");
  machine().write_file("/run/systemd/system/bench.service",
                       "[Service]\nType=notify\nTimeoutStartSec=infinity\n"
                       "ExecStart=/run/bench-peer " +
                           port + " /run/bench/file\n");
  // Of its own, since /run holds no more than a fifth of the memory.
  machine().succeed("mkdir /run/bench; mount -t tmpfs -o size=60% bench /run/bench");
  machine().succeed("systemctl daemon-reload");
}

GuestPeer::~GuestPeer() {
  ::close(fd_);
  ::close(listener_);
}

void GuestPeer::start() {
  machine().succeed("systemctl start --no-block bench.service");
  if (listener_ >= 0) {
    ::close(fd_);
    fd_ = accept_from(listener_);
  }
  ask('e');
}

void GuestPeer::send(char what) { write_all(fd_, &what, 1); }

void GuestPeer::await(char what) {
  char answer = 0;
  if (::read(fd_, &answer, 1) != 1) die("the guest's bench program ended");
  if (answer != what) {
    std::fprintf(stderr, "asked the guest's bench program for '%c', got '%c'\n", what, answer);
    std::exit(1);
  }
}

void GuestPeer::ask(char what) {
  send(what);
  await(what);
}

double GuestPeer::transfer_ms(char what, std::uint64_t size) {
  auto started = std::chrono::steady_clock::now();
  send(what);
  write_all(fd_, reinterpret_cast<const char*>(&size), sizeof size);
  std::vector<char> buffer(64 << 10);
  for (std::uint64_t left = size; left > 0;) {
    auto piece = std::min<std::uint64_t>(left, buffer.size());
    if (what == 'i' || what == 'I') {
      write_all(fd_, buffer.data(), piece);
    } else {
      ssize_t count = ::read(fd_, buffer.data(), piece);
      if (count <= 0) die("the guest's bench port");
      piece = static_cast<std::uint64_t>(count);
    }
    left -= piece;
  }
  await(what);
  return since(started);
}

}  // namespace bench
