#include "guest/agent/operation.h"

namespace attest::agent {

void Operation::on_data(std::uint8_t, std::string_view bytes) { out_.consumed(bytes.size()); }
void Operation::on_end(std::uint8_t) {}
void Operation::on_event(const AgentFields&) {}

std::unique_ptr<Operation> make_operation(const AgentFields& fields, Output& out,
                                          Services services) {
  using Factory = std::unique_ptr<Operation> (*)(const AgentFields&, Output&, Services);
  struct Power {
    std::string_view op;
    Factory make;
  };
  static constexpr Power powers[] = {
      {"clock", make_clock}, {"list", make_list},   {"pack", make_pack},
      {"power", make_power}, {"read", make_read},   {"reseed", make_reseed},
      {"run", make_run},     {"stat", make_stat},   {"unpack", make_unpack},
      {"wait", make_wait},   {"write", make_write},
  };
  for (const auto& power : powers)
    if (power.op == fields.get("op")) return power.make(fields, out, services);
  return nullptr;
}

}  // namespace attest::agent
