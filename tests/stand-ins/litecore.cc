// A stand-in for Samsung's Exynos AI LiteCore, so that LiteRT's plugin can be watched where it is not installed.
//
// It takes every tensor and operation that the plugin sends and generates nothing, so what it shows is that the plugin can
// build a model's graph, and never that Exynos compiles it. QUAD_LITECORE_LOG names a file for what was sent.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

uint32_t tensors = 0;
uint32_t operations = 0;

void note(const char* format, ...) {
  static FILE* file = [] {
    const char* path = std::getenv("QUAD_LITECORE_LOG");
    return path ? std::fopen(path, "a") : nullptr;
  }();
  if (!file) return;
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(file, format, arguments);
  va_end(arguments);
  std::fflush(file);
}

}  // namespace

extern "C" {

// The graph and its generator are never looked into; they only must not be null.
void* create_graph(const char*) {
  tensors = operations = 0;
  return &tensors;
}
void release_graph(void*) {}
int set_graph_input_tensors(void*, const void*, uint64_t) { return 0; }
int set_graph_output_tensors(void*, const void*, uint64_t) { return 0; }
int finish_build_graph(void*) {
  note("graph of %u operations, %u tensors\n", operations, tensors);
  return 0;
}
int define_tensor(void*, uint32_t* id, const char* name, const uint32_t*, uint64_t, const char* type, const char*) {
  *id = tensors++;
  note("tensor %u %s %s\n", *id, name ? name : "", type);
  return 0;
}
int set_quantize_param_for_tensor(void*, uint32_t id, const char* type, const void*, const void*) {
  note("tensor %u stored as %s\n", id, type);
  return 0;
}
int set_data_for_constant_tensor(void*, uint32_t, const void*, uint64_t) { return 0; }
int define_op_node(void*, uint32_t* id, const char*, const char* type, const void*, uint64_t, const void*, uint64_t) {
  *id = operations++;
  note("operation %u %s\n", *id, type);
  return 0;
}
int add_op_parameter(void*, uint32_t id, const char* name, const void*) {
  note("operation %u has %s\n", id, name);
  return 0;
}
int serialize(void*, uint8_t** bytes, uint64_t* length) {
  static uint8_t nothing[16];
  *bytes = nothing;
  *length = sizeof nothing;
  return 0;
}
void* graphgen_create() { return &operations; }
int graphgen_release(void*) { return 0; }
int graphgen_initialize_context(void*, int) { return 0; }
int graphgen_generate(void*, uint8_t*, uint64_t, void** result) {
  static char nothing[64];
  *result = nothing;
  return 0;
}
int graphgen_release_buffer(void*, void*) { return 0; }

}  // extern "C"
