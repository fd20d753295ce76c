#include "lib/net/kernel/offload.h"

#include "attest/error.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/net/kernel/links.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace attest::net {
namespace {

// The ethtool ioctls of one interface. Each request is a fixed head and an array behind it.
class Ethtool {
 public:
  Ethtool(const std::string& interface, std::string attempt)
      : attempt_(std::move(attempt)),
        socket_(base::check(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), attempt_)) {
    require_interface_name(interface, attempt_);
    std::memcpy(request_.ifr_name, interface.data(), interface.size());
  }

  int ask(void* about) {
    request_.ifr_data = static_cast<char*>(about);
    return base::check(::ioctl(socket_.get(), SIOCETHTOOL, &request_), attempt_);
  }

  /// The names of all features that this kernel knows, by number.
  std::vector<std::string> feature_names() {
    std::vector<std::uint32_t> sizes(sizeof(ethtool_sset_info) / 4 + 1);
    auto* info = reinterpret_cast<ethtool_sset_info*>(sizes.data());
    info->cmd = ETHTOOL_GSSET_INFO;
    info->sset_mask = 1ULL << ETH_SS_FEATURES;
    ask(info);
    auto count = info->sset_mask ? info->data[0] : 0;
    std::vector<char> bytes(sizeof(ethtool_gstrings) + std::size_t{count} * ETH_GSTRING_LEN);
    auto* strings = reinterpret_cast<ethtool_gstrings*>(bytes.data());
    strings->cmd = ETHTOOL_GSTRINGS;
    strings->string_set = ETH_SS_FEATURES;
    strings->len = count;
    ask(strings);
    std::vector<std::string> names;
    for (std::uint32_t i = 0; i < count; ++i) {
      std::string_view name(&bytes[sizeof(ethtool_gstrings) + std::size_t{i} * ETH_GSTRING_LEN],
                            ETH_GSTRING_LEN);
      names.emplace_back(name.substr(0, name.find('\0')));
    }
    return names;
  }

 private:
  std::string attempt_;
  base::Fd socket_;
  ifreq request_{};
};

}  // namespace

void disable_offloads(const std::string& interface) {
  auto attempt = "turning the offloads of the interface '" + interface + "' off";
  Ethtool ethtool(interface, attempt);
  auto names = ethtool.feature_names();
  auto blocks = (names.size() + 31) / 32;

  std::vector<char> current(sizeof(ethtool_gfeatures) +
                            blocks * sizeof(ethtool_get_features_block));
  auto* features = reinterpret_cast<ethtool_gfeatures*>(current.data());
  features->cmd = ETHTOOL_GFEATURES;
  features->size = static_cast<std::uint32_t>(blocks);
  ethtool.ask(features);

  std::vector<char> wanted(sizeof(ethtool_sfeatures) + blocks * sizeof(ethtool_set_features_block));
  auto* change = reinterpret_cast<ethtool_sfeatures*>(wanted.data());
  change->cmd = ETHTOOL_SFEATURES;
  change->size = static_cast<std::uint32_t>(blocks);
  for (std::size_t i = 0; i < names.size(); ++i) {
    auto bit = std::uint32_t{1} << (i % 32);
    // All of them, by their common prefix: the list grows with the kernel.
    if (names[i].starts_with("tx-") && (features->features[i / 32].available & bit))
      change->features[i / 32].valid |= bit;
  }
  // Not what was wished for: something insists on a feature.
  if (ethtool.ask(change) & ETHTOOL_F_WISH)
    throw Error(Error::Kind::host, attempt + ": the kernel keeps some of them on");
}

}  // namespace attest::net
