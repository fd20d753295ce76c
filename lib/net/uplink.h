// The way out of one machine, through a passt of its own in the host's network: what it is like
// there, how passt is started, and how one hears that it is up. Pure; lib/core/uplink does it.
#pragma once
#include "attest/backend.h"
#include "lib/net/plan.h"

#include <string>
#include <string_view>
#include <vector>

namespace attest::net {

/// As in QEMU's user network, the same behind every passt: the machine, its gateway, which is the
/// host's own 127.0.0.1 too, and its name server, which asks the host's first one.
inline constexpr std::string_view uplink_address = "10.0.2.15";
inline constexpr std::string_view uplink_gateway = "10.0.2.2";
inline constexpr std::string_view uplink_dns = "10.0.2.3";
/// passt's card.
inline constexpr std::string_view uplink_gateway_mac = "52:54:00:12:00:fe";

/// The card of node `number` that leads out: vlan 0, without IPv6.
Nic make_uplink(int number);

/// What sh runs with a stream socket as stdin and stdout: passt, that frames pass through with
/// their lengths in front, until the socket is closed. Should it end before, what it has said
/// follows as text.
std::string uplink_command();

/// What is sent to it first, with its length in front: `nic` asks for the gateway's address (ARP).
std::string gateway_question(const Nic& nic);
/// Whether `frame` is the answer to that.
bool is_gateway_answer(std::string_view frame);
/// Whether what came first is words, not frames.
bool is_text(std::string_view received);
/// What passt has said, in one line and without what it says to syslog's absence and to root.
std::string passt_words(std::string_view said);

/// What makes `nic` work in a machine: for systemd-networkd, and /etc/resolv.conf.
std::vector<SeedFile> uplink_seed(const Nic& nic);

}  // namespace attest::net
