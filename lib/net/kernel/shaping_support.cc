#include "lib/net/kernel/netlink.h"
#include "lib/net/kernel/netns.h"
#include "lib/net/kernel/shaping.h"
#include "lib/net/plan.h"

#include <exception>
#include <functional>

namespace attest::net {
namespace {

// "" or why it failed: what is missing, if that is known, else all that is known.
std::string refusal(const std::function<void()>& attempt) {
  try {
    attempt();
    return {};
  } catch (const std::exception& error) {
    std::string text = error.what();
    auto missing = text.find("the kernel has no ");
    return missing == std::string::npos ? text : text.substr(missing);
  }
}

// The bridge's own link needs all that those of its ports do: one way has its queues at the
// interface, the other at an ifb.
void try_all(ShapingSupport& support) {
  auto nic = make_nic(1, test_process_node);
  const std::string bridge = "probe";
  Netlink().make_bridge(bridge, nic.mac);
  support.no_partitions = refusal([&] {
    Rules rules;
    rules.block(1, test_process_node);
    KernelRules(bridge).apply(rules, {{1, "port"}});
  });
  support.no_impairments = refusal([&] {
    Rules rules;
    rules.shape_from(test_process_node, {.delay = std::chrono::microseconds(1)});
    rules.shape_to(test_process_node, {.delay = std::chrono::microseconds(1)});
    KernelRules(bridge).apply(rules, {});
  });
}

ShapingSupport find_out() {
  ShapingSupport support;
  auto why = refusal([&] {
    auto netns = make_netns();
    in_netns(netns, [&] { try_all(support); });
  });
  if (!why.empty()) support = {why, why};
  return support;
}

}  // namespace

const ShapingSupport& shaping_support() {
  static const ShapingSupport support = find_out();
  return support;
}

}  // namespace attest::net
