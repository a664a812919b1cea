#include "cli/supervisor/configs.h"

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

// A YAML scalar in double quotes, whatever is in it.
std::string Quoted(std::string_view text) {
  constexpr const char* kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string QuotedPath(const std::filesystem::path& path) { return Quoted(path.string()); }

std::string Local(std::uint16_t port) { return Concat("127.0.0.1:", port); }

std::string ProcessPart(const Layout& layout, const SystemPlan& plan, std::string_view process) {
  const ProcessPorts& ports = plan.ports.at(std::string(process));
  std::string text = Concat(
      "process:\n  name: ", process, "\n  listen: ", Quoted(Local(ports.grpc)),
      "\n  admin-listen: ", Quoted(Local(ports.admin)),
      "\n  tls:\n    certificate-file: ", QuotedPath(layout.CertificateOf(process)),
      "\n    key-file: ", QuotedPath(layout.KeyOf(process)),
      "\n    ca-file: ", QuotedPath(layout.Authority()), "\n  auth:\n    issuer: ", kIssuer,
      "\n    audience: ", kAudience, "\n    public-key-files: [",
      QuotedPath(layout.TokenPublicKey()), "]\n    mesh-roles:\n",
      "      ingest: {roles: [schema.read]}\n", "      correlation: {roles: [schema.write]}\n",
      "      report: {roles: [schema.write]}\n", "      notification: {roles: [schema.write]}\n",
      "      gateway: {roles: [schema.read]}\n", "      cli: {roles: [schema.write, viewer]}\n");
  if (!plan.otlp.empty()) {
    text += Concat("  telemetry: {otlp-endpoint: ", Quoted(plan.otlp), ", otlp-insecure: true}\n");
  }
  return text;
}

std::string Peer(const SystemPlan& plan, std::string_view name, std::string_view process) {
  return Concat(name, ": {target: ", Quoted(AddressOf(plan, process)), "}\n");
}

std::string PackList(const SystemPlan& plan) {
  std::vector<std::string> folders;
  for (const LoadedPack& pack : plan.packs) folders.push_back(QuotedPath(pack.folder));
  return Concat("packs: [", Join(folders, ", "), "]\n");
}

std::string StreamList(const SystemPlan& plan) {
  std::vector<std::string> topics;
  for (const LoadedPack& pack : plan.packs) {
    for (const auto& stream : pack.pack.streams()) topics.push_back(Quoted(stream.topic()));
  }
  return Join(topics, ", ");
}

}  // namespace

const std::vector<std::string>& ProcessNames() {
  static const auto* const names = new std::vector<std::string>{
      "schema-registry", "ingest", "correlation", "report", "notification", "gateway"};
  return *names;
}

std::string AddressOf(const SystemPlan& plan, std::string_view process) {
  if (process == "gateway") return plan.gateway;
  return Local(plan.ports.at(std::string(process)).grpc);
}

std::string AdminAddressOf(const SystemPlan& plan, std::string_view process) {
  return Local(plan.ports.at(std::string(process)).admin);
}

std::string ConfigText(const Layout& layout, const SystemPlan& plan, std::string_view process) {
  std::string text =
      Concat("# Written by `tocsin up` at each start.\n", ProcessPart(layout, plan, process),
             "kafka: {bootstrap-servers: ", Quoted(plan.kafka), ", replication-factor: 1}\n");
  if (process == "schema-registry") {
    text += Concat("rest: {listen: ", Quoted(plan.registry), "}\n");
    return text;
  }
  text += Peer(plan, "registry", "schema-registry");
  if (process == "ingest") {
    text += PackList(plan);
  } else if (process == "correlation") {
    text += PackList(plan);
    text += Concat("state-dir: ", QuotedPath(layout.State(process)), "\n");
  } else if (process == "report") {
    text += Concat("database: {path: ", QuotedPath(layout.State(process) / "report.db"), "}\n");
  } else if (process == "notification") {
    text +=
        Concat("database: {path: ", QuotedPath(layout.State(process) / "notification.db"), "}\n");
    if (!plan.webhook.empty()) {
      text += Concat("routes:\n  - name: webhook\n    webhook: {url: ", Quoted(plan.webhook),
                     ", allow-private: true}\n");
    }
  } else if (process == "gateway") {
    text += Concat("public-listen: ", Quoted(plan.gateway), "\n");
    for (const char* const peer : {"ingest", "correlation", "report", "notification"}) {
      text += Peer(plan, peer, peer);
    }
    text += Concat("live:\n  streams: [", StreamList(plan),
                   "]\n  cursor-key-file: ", QuotedPath(layout.CursorKey()), "\n");
  }
  return text;
}

absl::StatusOr<std::string> BrokerProperties(std::string_view text, const Layout& layout,
                                             const SystemPlan& plan) {
  TOCSIN_ASSIGN_OR_RETURN(const HostPort kafka, ParseHostPort(plan.kafka));
  const std::vector<std::pair<std::string_view, std::string>> names{
      {"@PORT@", std::to_string(kafka.port)},
      {"@CONTROLLER_PORT@", std::to_string(plan.kafka_controller_port)},
      {"@DATA_DIR@", layout.Broker().string()}};
  std::string out(text);
  for (const auto& [name, value] : names) {
    bool found = false;
    for (std::size_t at = out.find(name); at != std::string::npos;
         at = out.find(name, at + value.size())) {
      out.replace(at, name.size(), value);
      found = true;
    }
    if (!found) return InvalidArgument(Concat("server.properties has no ", name));
  }
  return out;
}

}  // namespace tocsin::cli
