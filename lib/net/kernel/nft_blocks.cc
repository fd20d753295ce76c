#include "lib/net/kernel/nft_blocks.h"

#include "lib/base/sys_error.h"
#include "lib/net/kernel/nft_batch.h"

#include <arpa/inet.h>  // before linux/, which then leaves out what it has
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_bridge.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace attest::net {
namespace {

constexpr auto set_name = "blocked";
// What the nft tool calls "ifname . ifname": six bits a type. Only it looks at that.
constexpr std::uint32_t pair_of_names = 41 << 6 | 41;
// Just before whatever else filters on the bridge.
constexpr int priority = -201;

// As the kernel keeps it in a register.
std::string register_of(const std::string& interface) {
  auto bytes = interface.substr(0, IFNAMSIZ - 1);
  bytes.resize(IFNAMSIZ);
  return bytes;
}

void expression(NftMessage& list, const char* name, const std::function<void(NftMessage&)>& data) {
  list.nest(NFTA_LIST_ELEM,
            [&](NftMessage& one) { one.text(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, data); });
}

// One end of the pair into a register: the frame's interface, or the bridge where it has none.
void load(NftMessage& list, int to_register, bool known, int meta_key, const std::string& bridge) {
  if (known)
    expression(list, "meta", [&](NftMessage& meta) {
      meta.number(NFTA_META_DREG, static_cast<std::uint32_t>(to_register))
          .number(NFTA_META_KEY, static_cast<std::uint32_t>(meta_key));
    });
  else
    expression(list, "immediate", [&](NftMessage& immediate) {
      immediate.number(NFTA_IMMEDIATE_DREG, static_cast<std::uint32_t>(to_register))
          .nest(NFTA_IMMEDIATE_DATA,
                [&](NftMessage& data) { data.bytes(NFTA_DATA_VALUE, register_of(bridge)); });
    });
}

void drop(NftMessage& list) {
  expression(list, "immediate", [](NftMessage& verdict) {
    verdict.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT)
        .nest(NFTA_IMMEDIATE_DATA, [](NftMessage& data) {
          data.nest(NFTA_DATA_VERDICT,
                    [](NftMessage& code) { code.number(NFTA_VERDICT_CODE, NF_DROP); });
        });
  });
}

struct Hook {
  const char* chain;
  int number;
  bool comes_in, goes_out;  // by an interface that is a port
};
constexpr Hook hooks[] = {{"forward", NF_BR_FORWARD, true, true},
                          {"input", NF_BR_LOCAL_IN, true, false},
                          {"output", NF_BR_LOCAL_OUT, false, true}};

void add_chain(NftBatch& batch, const std::string& table, const Hook& hook) {
  batch.add(NFT_MSG_NEWCHAIN, NLM_F_CREATE, [&](NftMessage& chain) {
    chain.text(NFTA_CHAIN_TABLE, table)
        .text(NFTA_CHAIN_NAME, hook.chain)
        .nest(NFTA_CHAIN_HOOK,
              [&](NftMessage& place) {
                place.number(NFTA_HOOK_HOOKNUM, static_cast<std::uint32_t>(hook.number))
                    .number(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(priority));
              })
        .number(NFTA_CHAIN_POLICY, NF_ACCEPT)
        .text(NFTA_CHAIN_TYPE, "filter");
  });
}

// iifname . oifname @blocked drop
void add_rule(NftBatch& batch, const std::string& table, const Hook& hook,
              const std::string& bridge) {
  batch.add(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, [&](NftMessage& rule) {
    rule.text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, hook.chain)
        .nest(NFTA_RULE_EXPRESSIONS, [&](NftMessage& list) {
          load(list, NFT_REG_1, hook.comes_in, NFT_META_IIFNAME, bridge);
          load(list, NFT_REG_2, hook.goes_out, NFT_META_OIFNAME, bridge);
          expression(list, "lookup", [&](NftMessage& lookup) {
            lookup.text(NFTA_LOOKUP_SET, set_name).number(NFTA_LOOKUP_SREG, NFT_REG_1);
          });
          drop(list);
        });
  });
}

void add_table(NftBatch& batch, const std::string& table, const std::string& bridge) {
  auto named = [&](NftMessage& message) { message.text(NFTA_TABLE_NAME, table); };
  // One of that name may be left of a process that was killed: deleting what may not exist is no
  // error after adding it.
  batch.add(NFT_MSG_NEWTABLE, NLM_F_CREATE, named);
  batch.add(NFT_MSG_DELTABLE, 0, named);
  batch.add(NFT_MSG_NEWTABLE, NLM_F_CREATE, named);
  batch.add(NFT_MSG_NEWSET, NLM_F_CREATE, [&](NftMessage& set) {
    set.text(NFTA_SET_TABLE, table)
        .text(NFTA_SET_NAME, set_name)
        .number(NFTA_SET_FLAGS, 0)
        .number(NFTA_SET_KEY_TYPE, pair_of_names)
        .number(NFTA_SET_KEY_LEN, 2 * IFNAMSIZ)
        .number(NFTA_SET_ID, 1);
  });
  for (auto& hook : hooks) {
    add_chain(batch, table, hook);
    add_rule(batch, table, hook, bridge);
  }
}

void add_elements(NftBatch& batch, const std::string& table,
                  const std::vector<NftBlocks::Pair>& pairs) {
  constexpr std::size_t a_message = 1000;  // a list of them takes at most 64 KiB
  for (std::size_t first = 0; first < pairs.size(); first += a_message)
    batch.add(
        NFT_MSG_NEWSETELEM, NLM_F_CREATE,
        [&](NftMessage& message) {
          message.text(NFTA_SET_ELEM_LIST_TABLE, table)
              .text(NFTA_SET_ELEM_LIST_SET, set_name)
              .nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&](NftMessage& list) {
                for (auto i = first; i < std::min(first + a_message, pairs.size()); ++i)
                  list.nest(NFTA_LIST_ELEM, [&](NftMessage& element) {
                    element.nest(NFTA_SET_ELEM_KEY, [&](NftMessage& key) {
                      key.bytes(NFTA_DATA_VALUE,
                                register_of(pairs[i].first) + register_of(pairs[i].second));
                    });
                  });
              });
        },
        64 << 10);
}

}  // namespace

void NftBlocks::set(const std::vector<Pair>& pairs) {
  if (pairs.empty() && !there_) return;
  auto attempt = "partitioning the bridge '" + bridge_ + "' with nf_tables";
  auto require = [&](int code) {
    if (code == 0) return;
    if (!there_ && (code == EPROTONOSUPPORT || code == EOPNOTSUPP || code == ENOENT))
      throw Error(Error::Kind::host,
                  attempt +
                      ": the kernel has no nf_tables for bridges (modprobe nf_tables; "
                      "CONFIG_NF_TABLES, CONFIG_NF_TABLES_BRIDGE)");
    throw base::sys_error(attempt, code)
        .hint(
            "it needs CAP_NET_ADMIN in a network namespace of our own: run with the sandbox "
            "(attest::main, --attest_sandbox=auto)");
  };
  if (!socket_) socket_.reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket_) require(errno);
  NftBatch batch(sequence_ + 1);
  if (!there_)
    add_table(batch, table(), bridge_);
  else
    batch.add(NFT_MSG_DELSETELEM, 0, [&](NftMessage& all) {
      all.text(NFTA_SET_ELEM_LIST_TABLE, table()).text(NFTA_SET_ELEM_LIST_SET, set_name);
    });
  add_elements(batch, table(), pairs);
  int code = batch.commit(socket_.get());
  sequence_ = batch.next();
  require(code);
  there_ = true;
}

void NftBlocks::remove() noexcept {
  if (!std::exchange(there_, false)) return;
  NftBatch batch(sequence_ + 1);
  batch.add(NFT_MSG_DELTABLE, 0,
            [&](NftMessage& message) { message.text(NFTA_TABLE_NAME, table()); });
  batch.commit(socket_.get());
  sequence_ = batch.next();
}

}  // namespace attest::net
