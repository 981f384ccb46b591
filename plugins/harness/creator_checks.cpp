// Creators and the attributes they take.
#include <algorithm>

#include "plugin.h"

namespace harness {

using nvinfer1::PluginFieldType;

namespace {

struct Attribute {
  const char *name;
  PluginFieldType type;
};

using Attributes = std::vector<Attribute>;

const Attributes kScanAttributes{
    {"has_z", PluginFieldType::kINT32},    {"delta_softplus", PluginFieldType::kINT32},
    {"reverse", PluginFieldType::kINT32},  {"return_last_state", PluginFieldType::kINT32},
    {"groups", PluginFieldType::kINT32},   {"B_offset", PluginFieldType::kINT32},
    {"C_offset", PluginFieldType::kINT32}, {"z_offset", PluginFieldType::kINT32}};
const Attributes kMstbAttributes{{"top_k", PluginFieldType::kINT32},
                                 {"min_bin", PluginFieldType::kINT32},
                                 {"max_bin", PluginFieldType::kINT32},
                                 {"weighting", PluginFieldType::kINT32},
                                 {"amplitude_scale", PluginFieldType::kFLOAT32},
                                 {"period_rule", PluginFieldType::kINT32},
                                 {"channel_first", PluginFieldType::kINT32}};

const Fields kScanFields = fields(ScanFlags{true, true, false, true}, 1);
const Fields kMstbFields = fields(MstbFlags{3, 1, 0, 0, 1.0f});

void check_creator(Checks &checks, const Library &library, const std::string &name, const Attributes &wanted,
                   const Fields &good) {
  RawCreator *creator = library.creator(name);
  checks.expect(std::string(kVersion) == creator->getPluginVersion(), name + ": version");
  checks.expect(std::string(kNamespace) == creator->getPluginNamespace(), name + ": namespace");
  const nvinfer1::InterfaceInfo info = creator->getInterfaceInfo();
  checks.expect(std::string("PLUGIN CREATOR_V3ONE") == info.kind && info.major == 1, name + ": interface");
  const nvinfer1::PluginFieldCollection *all = creator->getFieldNames();
  if (!checks.expect(all && all->nbFields == static_cast<int32_t>(wanted.size()) && all->fields,
                     name + ": number of fields"))
    return;
  for (const Attribute &attribute : wanted) {
    const auto *end = all->fields + all->nbFields;
    const auto *found = std::find_if(all->fields, end, [&](const nvinfer1::PluginField &field) {
      return field.name && std::string(field.name) == attribute.name;
    });
    checks.expect(found != end && found->type == attribute.type, name + ": field " + attribute.name);
  }
  const Plugin plugin = library.create(name, &good);
  if (!checks.expect(static_cast<bool>(plugin), name + ": not created"))
    return;
  checks.expect(plugin.id() == name + " " + kVersion + " " + kNamespace,
                name + ": the plugin calls itself " + plugin.id());
  checks.expect(library.messages().empty(), name + ": a good plugin was logged about");
  const auto kind = [&](nvinfer1::PluginCapabilityType type) {
    nvinfer1::IPluginCapability *capability = plugin.raw()->getCapabilityInterface(type);
    return std::string(capability ? capability->getInterfaceInfo().kind : "none");
  };
  checks.expect(kind(nvinfer1::PluginCapabilityType::kCORE) == "PLUGIN_V3ONE_CORE", name + ": core");
  checks.expect(kind(nvinfer1::PluginCapabilityType::kBUILD) == "PLUGIN_V3ONE_BUILD", name + ": build");
  checks.expect(kind(nvinfer1::PluginCapabilityType::kRUNTIME) == "PLUGIN_V3ONE_RUNTIME", name + ": runtime");
}

// Null, with a message that says `word`, if there is one.
void check_refused(Checks &checks, const Library &library, const std::string &name, const Fields *fields,
                   const std::string &what, const std::string &word = "") {
  library.messages();
  const Plugin plugin = library.create(name, fields);
  checks.expect(!plugin, name + ": created with " + what);
  const std::vector<std::string> messages = library.messages();
  checks.expect(
      std::any_of(messages.begin(), messages.end(),
                  [&](const std::string &message) { return message.find(word) != std::string::npos; }),
      name + ": no message" + (word.empty() ? "" : " that names " + word) + " about " + what);
}

void check_broken_fields(Checks &checks, const Library &library, const std::string &name,
                         const Fields &good) {
  const Fields none;
  check_refused(checks, library, name, nullptr, "no collection of fields");
  check_refused(checks, library, name, &none, "no fields");
  for (size_t i = 0; i < good.size(); ++i) {
    const std::string word = good[i].name;
    Fields broken = good;
    broken.erase(broken.begin() + static_cast<std::ptrdiff_t>(i));
    check_refused(checks, library, name, &broken, word + " missing", word);
    check_refused(checks, library, name, &broken, word + " missing", "export the model again");
    broken = good;
    broken[i].bytes.clear();
    check_refused(checks, library, name, &broken, word + " without data", word);
    broken = good;
    broken[i].name.clear();
    check_refused(checks, library, name, &broken, word + " without its name", word);
    broken = good;
    broken[i].length = 0;
    check_refused(checks, library, name, &broken, word + " of length 0", word);
    broken = good;
    broken[i].type = PluginFieldType::kFLOAT64;
    broken[i].bytes.resize(8);
    check_refused(checks, library, name, &broken, word + " as float64", word);
  }
}

} // namespace

void check_creators(Checks &checks, const Library &library) {
  checks.group("creators");
  checks.expect(library.creators().size() == 2, "there are " + std::to_string(library.creators().size()));
  check_creator(checks, library, kScan, kScanAttributes, kScanFields);
  check_creator(checks, library, kMstb, kMstbAttributes, kMstbFields);
}

void check_refusals(Checks &checks, const Library &library) {
  checks.group("attributes that are refused");
  check_broken_fields(checks, library, kScan, kScanFields);
  check_broken_fields(checks, library, kMstb, kMstbFields);
  const auto refuse = [&](const char *name, const Fields &good, size_t field, int32_t value) {
    Fields broken = good;
    broken[field] = Field::integer(broken[field].name, value);
    check_refused(checks, library, name, &broken, broken[field].name + " " + std::to_string(value),
                  broken[field].name);
  };
  for (size_t flag = 0; flag < 4; ++flag)
    for (int32_t value : {-1, 2})
      refuse(kScan, kScanFields, flag, value);
  for (int32_t groups : {-1, 0})
    refuse(kScan, kScanFields, 4, groups);
  for (size_t offset = 5; offset < 8; ++offset)
    refuse(kScan, kScanFields, offset, -1);
  refuse(kScan, fields(ScanFlags{false, true, false, true}, 1), 7, 4); // an offset of a z that is not there
  for (int32_t top_k : {-1, 0, 9})
    refuse(kMstb, kMstbFields, 0, top_k);
  for (int32_t min_bin : {-1, 0})
    refuse(kMstb, kMstbFields, 1, min_bin);
  refuse(kMstb, kMstbFields, 2, -1);
  for (int32_t weighting : {-1, 2})
    refuse(kMstb, kMstbFields, 3, weighting);
  for (size_t flag : {5, 6})
    for (int32_t value : {-1, 2})
      refuse(kMstb, kMstbFields, flag, value);
  Fields empty_band = kMstbFields;
  empty_band[1] = Field::integer("min_bin", 9);
  empty_band[2] = Field::integer("max_bin", 8);
  check_refused(checks, library, kMstb, &empty_band, "max_bin under min_bin", "max_bin");

  for (const auto &[name, good] : {std::pair{kScan, kScanFields}, {kMstb, kMstbFields}})
    checks.expect(!library.restore(name, {}), std::string(name) + ": restored from nothing");
  library.messages();
}

} // namespace harness
