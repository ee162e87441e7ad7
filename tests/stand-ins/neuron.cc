// A stand-in for MediaTek's NeuronAdapter, so that LiteRT's plugin can be watched where NeuroPilot is not installed.
//
// It takes every operand and operation that the plugin sends and compiles nothing, so what it shows is that the plugin can
// legalize a model, and never that NeuroPilot accepts it. QUAD_NEURON_LOG names a file for what was sent;
// QUAD_NEURON_VERSION the version that it pretends to be, 8.2.0 unless given: from 8.2.24 on the plugin sends operations
// that it cannot legalize as unknown ones and asks which are supported.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

// The code of what the plugin could not legalize.
constexpr int kUnknownOperation = 10001;
// Codes of extensions, which are only given back.
constexpr int kFirstExtensionOperand = 0x10000;
constexpr int kFirstExtensionOperation = 0x20000;

struct Model {
  uint32_t operands = 0;
  std::vector<int> operations;
};

struct OperandType {
  int32_t type;
  uint32_t rank;
  const uint32_t* sizes;
  float scale;
  int32_t zero_point;
};

struct Version {
  uint8_t major, minor, patch;
};

void note(const char* format, ...) {
  static FILE* file = [] {
    const char* path = std::getenv("QUAD_NEURON_LOG");
    return path ? std::fopen(path, "a") : nullptr;
  }();
  if (!file) return;
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(file, format, arguments);
  va_end(arguments);
  std::fflush(file);
}

Model& of(void* model) { return *static_cast<Model*>(model); }

}  // namespace

extern "C" {

int Neuron_getVersion(Version* version) {
  const char* text = std::getenv("QUAD_NEURON_VERSION");
  unsigned parts[3] = {8, 2, 0};
  if (text) std::sscanf(text, "%u.%u.%u", &parts[0], &parts[1], &parts[2]);
  *version = {static_cast<uint8_t>(parts[0]), static_cast<uint8_t>(parts[1]), static_cast<uint8_t>(parts[2])};
  return 0;
}

int NeuronModel_create(void** model) {
  *model = new Model;
  return 0;
}
void NeuronModel_free(void* model) { delete static_cast<Model*>(model); }
int NeuronModel_finish(void* model) {
  note("model of %zu operations, %u operands\n", of(model).operations.size(), of(model).operands);
  return 0;
}
int NeuronModel_setName(void*, const char*) { return 0; }
int NeuronModel_addOperand(void* model, const OperandType* operand) {
  note("operand %u type %d scale %g zero point %d [", of(model).operands++, operand->type, operand->scale,
       operand->zero_point);
  for (uint32_t axis = 0; axis < operand->rank; ++axis) note(axis ? ", %u" : "%u", operand->sizes[axis]);
  note("]\n");
  return 0;
}
int NeuronModel_setOperandValue(void*, int32_t operand, const void*, size_t length) {
  note("value of %d: %zu bytes\n", operand, length);
  return 0;
}
int NeuronModel_setOperandSymmPerChannelQuantParams(void*, int32_t operand, const void*) {
  note("scales per channel of %d\n", operand);
  return 0;
}
int NeuronModel_setOperandPerChannelQuantParams(void*, int32_t operand, const void*) {
  note("scales and zero points per channel of %d\n", operand);
  return 0;
}
int NeuronModel_addOperation(void* model, int type, uint32_t inputs, const uint32_t* input, uint32_t outputs,
                             const uint32_t* output) {
  note("operation %zu type %d (", of(model).operations.size(), type);
  for (uint32_t index = 0; index < inputs; ++index) note(index ? ", %u" : "%u", input[index]);
  note(") -> (");
  for (uint32_t index = 0; index < outputs; ++index) note(index ? ", %u" : "%u", output[index]);
  note(")\n");
  of(model).operations.push_back(type);
  return 0;
}
int NeuronModel_identifyInputsAndOutputs(void*, uint32_t, const uint32_t*, uint32_t, const uint32_t*) { return 0; }
int NeuronModel_getExtensionOperandType(void*, const char*, uint16_t code, int32_t* type) {
  *type = kFirstExtensionOperand + code;
  return 0;
}
int NeuronModel_getExtensionOperationType(void*, const char*, uint16_t code, int32_t* type) {
  *type = kFirstExtensionOperation + code;
  return 0;
}
int NeuronModel_relaxComputationFloat32toFloat16(void*, bool) { return 0; }
int NeuronModel_restoreFromCompiledNetwork(void**, void**, const void*, size_t) { return 1; }

int NeuronCompilation_create(void* model, void** compilation) {
  *compilation = model;
  return 0;
}
int NeuronCompilation_createWithOptions(void* model, void** compilation, const char* options) {
  note("options %s\n", options);
  return NeuronCompilation_create(model, compilation);
}
void NeuronCompilation_free(void*) {}
int NeuronCompilation_finish(void*) { return 0; }
int NeuronCompilation_setPriority(void*, int) { return 0; }
int NeuronCompilation_setPreference(void*, int) { return 0; }
int NeuronCompilation_setOptimizationHint(void*, unsigned) { return 0; }
int NeuronCompilation_setOptimizationString(void*, const char*) { return 0; }
int NeuronCompilation_setL1MemorySizeKb(void*, uint32_t) { return 0; }
int Neuron_getL1MemorySizeKb(uint32_t* size) {
  *size = 0;
  return 1;
}
int NeuronCompilation_getSupportedOperations(void* compilation, uint32_t count, bool* supported) {
  const std::vector<int>& operations = of(compilation).operations;
  for (uint32_t index = 0; index < count; ++index) {
    supported[index] = index < operations.size() && operations[index] != kUnknownOperation;
  }
  return 0;
}
// A compiled network is a few zeros: there must be one, and nothing reads it.
int NeuronCompilation_getCompiledNetworkSize(void*, size_t* size) {
  *size = 16;
  return 0;
}
int NeuronCompilation_storeCompiledNetwork(void*, void* buffer, size_t size) {
  std::memset(buffer, 0, size);
  return 0;
}

// What only running a model would need.
#define NEVER(name) \
  int name() { return 1; }
NEVER(NeuronCompilation_getInputPaddedDimensions)
NEVER(NeuronCompilation_getInputPaddedSize)
NEVER(NeuronCompilation_getOutputPaddedDimensions)
NEVER(NeuronCompilation_getOutputPaddedSize)
NEVER(NeuronExecution_compute)
NEVER(NeuronExecution_create)
NEVER(NeuronExecution_free)
NEVER(NeuronExecution_setBoostHint)
NEVER(NeuronExecution_setInputFromMemory)
NEVER(NeuronExecution_setOutputFromMemory)
NEVER(NeuronMemory_createFromAHardwareBuffer)
NEVER(NeuronMemory_createFromFd)
NEVER(NeuronMemory_free)

}  // extern "C"
