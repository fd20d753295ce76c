#include "attest/config.h"
#include "tests/unit/config/message.h"

#include <gtest/gtest.h>

namespace attest {
namespace {

struct Case {
  const char* name;
  std::string json;
  std::string message;
};

// The text itself may hold bytes that gtest would copy into its XML report as they are.
void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

std::string web(const std::string& members) { return R"({"machines":{"web":{)" + members + "}}}"; }

const std::string memory =
    "machines.web.memory_mb: expected a whole number of MiB between 16 and 1048576, got ";

const Case cases[] = {
    {"TextForNumber", web(R"("memory_mb":"lots")"), memory + "the string \"lots\""},
    {"QuotedNumber", web(R"("memory_mb":"512")"), memory + "the string \"512\""},
    {"Fraction", web(R"("memory_mb":1.5)"), memory + "the number 1.5"},
    {"Exponent", web(R"("memory_mb":1e3)"), memory + "the number 1e3"},
    {"MoreThan64Bits", web(R"("memory_mb":99999999999999999999)"),
     memory + "the number 99999999999999999999"},
    {"Unsigned64Bits", web(R"("memory_mb":18446744073709551615)"),
     memory + "the number 18446744073709551615"},
    {"MoreThan32Bits", web(R"("memory_mb":4294967808)"), memory + "the number 4294967808"},
    {"TooSmall", web(R"("memory_mb":8)"), memory + "the number 8"},
    {"Negative", web(R"("memory_mb":-1)"), memory + "the number -1"},
    {"Null", web(R"("memory_mb":null)"), memory + "null"},
    {"TrueForNumber", web(R"("memory_mb":true)"), memory + "true"},
    {"ListForNumber", web(R"("memory_mb":[512])"), memory + "a list"},
    {"NumberForFlag", web(R"("graphics":1)"),
     "machines.web.graphics: expected true or false, got the number 1"},
    {"NumberForText", web(R"("cmdline":1)"),
     "machines.web.cmdline: expected a string, got the number 1"},
    {"NulInText", web(R"("cmdline":"a\u0000b")"),
     "machines.web.cmdline: expected text without NUL characters, got the string \"a^@b\""},
    {"LongText", web(R"("memory_mb":")" + std::string(300, 'x') + "\""),
     memory + "the string \"" + std::string(60, 'x') + "...\""},
    {"UnknownName", web(R"("accel":"KVM")"),
     R"(machines.web.accel: expected "auto", "kvm" or "tcg", got the string "KVM")"},
    {"UnknownChoice", web(R"("loopback":{"shell":"zsh"})"),
     R"(machines.web.loopback.shell: expected "bash" or "sh", got the string "zsh")"},
    {"UnknownRealisation", R"({"network":{"realisation":"vde"}})",
     R"(network.realisation: expected "auto", "kernel" or "process", got the string "vde")"},
    {"SeedThatReadersOfJsonRound", R"({"network":{"seed":9007199254740992}})",
     "network.seed: expected a whole number between 0 and 9007199254740991, got the number "
     "9007199254740992"},
    {"EmptyBackend", web(R"("backend":"")"),
     "machines.web.backend: expected a string that is not empty, got the empty string"},
    {"PartOfAKey", web(R"("memory":512)"),
     "machines.web: unknown key 'memory'; did you mean 'memory_mb'?"},
    {"Typo", web(R"("vcpu":1)"), "machines.web: unknown key 'vcpu'; did you mean 'vcpus'?"},
    {"KeyUnlikeAll", web(R"("qemu":{"xyzzy":1})"),
     "machines.web.qemu: unknown key 'xyzzy'\n  hint: valid keys: binary, machine, cpu, agent"},
    {"TypoAtTheTop", R"({"machine":{}})",
     "config: unknown key 'machine'; did you mean 'machines'?"},
    {"KeyTwice", web(R"("vcpus":1,"vcpus":2)"), "machines.web: key 'vcpus' is given twice"},
    {"MachineTwice", R"({"machines":{"web":{},"web":{}}})", "machines: key 'web' is given twice"},
    {"KeyTwiceInAList", web(R"("disks":["a",{"path":"b","path":"c"}])"),
     "machines.web.disks[1]: key 'path' is given twice"},
    {"NumberForList", web(R"("vlans":1)"),
     "machines.web.vlans: expected a list, each item a VLAN number between 1 and 254, "
     "got the number 1"},
    {"VlanOutOfRange", web(R"("vlans":[1,255])"),
     "machines.web.vlans[1]: expected a VLAN number between 1 and 254, got the number 255"},
    {"VlanTwice", web(R"("vlans":[1,2,1])"), "machines.web.vlans: 1 is in the list twice"},
    {"NumberForDisk", web(R"("disks":[3])"),
     "machines.web.disks[0]: expected a path or an object, got the number 3"},
    {"RequiredKeyMissing", web(R"("files":[{"to":"/x"}])"),
     "machines.web.files[0]: key 'from' is missing"},
    {"StepUpInGuestPath", web(R"("files":[{"from":"a","to":"/etc/../x"}])"),
     "machines.web.files[0].to: expected an absolute path without '..', "
     "got the string \"/etc/../x\""},
    {"RelativeGuestPath", web(R"("mounts":[{"host":"a","guest":"b"}])"),
     "machines.web.mounts[0].guest: expected an absolute path without '..', got the string \"b\""},
    {"ModeNotOctal", web(R"("files":[{"from":"a","to":"/x","mode":"0689"}])"),
     "machines.web.files[0].mode: expected an octal mode such as \"0644\", "
     "got the string \"0689\""},
    {"EnvName", web(R"("env":{"1A":""})"),
     "machines.web.env: expected as key a name of letters, digits and '_' that starts with no "
     "digit, got '1A'"},
    {"CredentialName", web(R"("credentials":{"a/b":""})"),
     "machines.web.credentials: expected as key a name of 1 to 255 letters, digits, '_', '-', '.' "
     "and '@', got 'a/b'"},
    {"ZeroTimeout", R"({"timeouts":{"boot":0}})",
     "timeouts.boot: expected a whole number of seconds between 1 and 31536000, got the number 0"},
    {"TimeoutWithUnit", R"({"timeouts":{"boot":"5min"}})",
     "timeouts.boot: expected a whole number of seconds between 1 and 31536000, "
     "got the string \"5min\""},
    {"ListAtTheTop", "[]", "config: expected an object, got a list"},
    {"Nothing", "", "not valid JSON at line 1, column 1: unexpected end of input"},
    {"CommaTooMany", "{\n  \"vlans\": [1, 2,]\n}",
     "not valid JSON at line 2, column 18, near '  \"vlans\": [1, 2,]': unexpected ']'\n"
     "  hint: no comma may stand before a closing bracket"},
    {"Comment", "{ // two machines\n}",
     "not valid JSON at line 1, column 3, near '{ /': invalid literal\n"
     "  hint: JSON has no comments"},
    {"SingleQuotes", "{\"name\": 'x'}",
     "not valid JSON at line 1, column 10, near '{\"name\": '': invalid literal\n"
     "  hint: strings stand in double quotes"},
    {"NotANumber", R"({"vlans": [NaN]})",
     "not valid JSON at line 1, column 12, near '{\"vlans\": [N': invalid literal"},
    {"HugeNumber", R"({"vlans": [1e999]})",
     "not valid JSON at line 1, column 16, near '{\"vlans\": [1e999': this number is too large"},
    {"SomethingAfterTheEnd", "{} {}",
     "not valid JSON at line 1, column 4, near '{} {': unexpected '{'"},
    {"ColumnsAreCharacters", "{\"name\": \"\xC3\xBC\" x}",
     "not valid JSON at line 1, column 14, near '{\"name\": \"\xC3\xBC\" x': invalid literal"},
    {"BrokenUtf8", "{\"name\": \"\xFF\"}",
     "not valid JSON at line 1, column 11, near '{\"name\": \"\xEF\xBF\xBD': "
     "invalid string: ill-formed UTF-8 byte"},
};

class ConfigError : public testing::TestWithParam<Case> {};

TEST_P(ConfigError, SaysWhereWhatWasExpectedAndWhatCame) {
  EXPECT_EQ(message_of([&] { Config::from_json(GetParam().json); }), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(Json, ConfigError, testing::ValuesIn(cases),
                         [](auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace attest
