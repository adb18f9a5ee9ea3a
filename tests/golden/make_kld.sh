#!/bin/sh
# perplexity.kld: llama.cpp's own `tools/perplexity/perplexity.cpp`, built from source, writes a base file of KL divergence of
# llama31/model-bf16.gguf (keys and values in f32).
#
#     sh make_kld.sh FOLDER     FOLDER: scratch; needs g++ and a python with xllamacpp and its libpython
#
# The source is that which llama_cpp_python vendors; the library is xllamacpp's, which exports llama.cpp's C interface. Only
# the tool is compiled. The library's C++ helpers have another layout than the source's headers, so the few that the tool
# calls are given below (options, loading), and `common_batch` is compiled from the source.
# With the same binary: ./llama-perplexity -m MODEL -c 32 -b 32 --kl-divergence --kl-divergence-base OURS.kld
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
if [ ! -d llama_cpp_python-0.3.36 ]; then
    python -m pip download --no-deps --no-binary :all: llama_cpp_python==0.3.36 ||
        [ -f llama_cpp_python-0.3.36.tar.gz ]
    tar xzf llama_cpp_python-0.3.36.tar.gz
fi
source=$PWD/llama_cpp_python-0.3.36/vendor/llama.cpp
library=$(python -c 'import glob, site; print(glob.glob(site.getsitepackages()[0] + "/xllamacpp/*.so")[0])')
python_lib=$(python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')
python_name=$(python -c 'import sysconfig; print(sysconfig.get_config_var("LDLIBRARY")[3:-3])')
awk '/^common_batch::common_batch/ {on = 1} on {print} on && /^    return res;/ {getline; print; exit}' \
    "$source/common/common.cpp" > common_batch.inc
cat > helpers.cpp <<'CPP'
#include "common.h"
#include "llama.h"
#include <fstream>
#include <sstream>
#include "common_batch.inc"
std::vector<llama_token> common_tokenize(const llama_context * ctx, const std::string & text, bool add, bool parse) {
    std::vector<llama_token> ids(text.size() + 2);
    ids.resize(llama_tokenize(llama_model_get_vocab(llama_get_model(ctx)), text.data(), text.size(), ids.data(), ids.size(), add, parse));
    return ids;
}
std::string common_params_get_system_info(const common_params &) { return ""; }
void common_init() {}
void common_memory_breakdown_print(const llama_context *) {}
bool common_params_parse(int argc, char ** argv, common_params & p, llama_example, void (*)(int, char **)) {
    for (int i = 1; i < argc; i++) {
        std::string a = argv[i];
        if (a == "--kl-divergence") { p.kl_divergence = true; continue; }
        if (i + 1 == argc) return false;
        std::string v = argv[++i];
        if (a == "-m") p.model.path = v;
        else if (a == "-c") p.n_ctx = std::stoi(v);
        else if (a == "-b") p.n_batch = std::stoi(v);
        else if (a == "-f") { std::stringstream s; s << std::ifstream(v).rdbuf(); p.prompt = s.str(); }
        else if (a == "--kl-divergence-base") p.logits_file = v;
        else return false;
    }
    return true;
}
// The library's parameters may be longer than the header's: room for them.
struct ModelParams { llama_model_params p; char more[256]; };
struct ContextParams { llama_context_params p; char more[256]; };
struct common_init_result::impl { llama_model * model; llama_context * context; };
common_init_result::common_init_result(common_params & p, bool) : pimpl(new impl) {
    auto m = ((ModelParams (*)()) llama_model_default_params)();
    pimpl->model = ((llama_model * (*)(const char *, ModelParams)) llama_model_load_from_file)(p.model.path.c_str(), m);
    auto c = ((ContextParams (*)()) llama_context_default_params)();
    c.p.n_ctx = p.n_ctx; c.p.n_batch = c.p.n_ubatch = p.n_batch; c.p.n_seq_max = p.n_parallel;
    c.p.n_threads = c.p.n_threads_batch = 1;
    c.p.type_k = c.p.type_v = GGML_TYPE_F32; c.p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    pimpl->context = pimpl->model ? ((llama_context * (*)(llama_model *, ContextParams)) llama_init_from_model)(pimpl->model, c) : nullptr;
}
common_init_result::~common_init_result() {}
llama_model * common_init_result::model() { return pimpl->model; }
llama_context * common_init_result::context() { return pimpl->context; }
common_init_result_ptr common_init_from_params(common_params & p, bool) { return common_init_result_ptr(new common_init_result(p)); }
CPP
include="-I$source/include -I$source/ggml/include -I$source/common -I$source/vendor -I."
for file in "$source/tools/perplexity/perplexity.cpp" "$source/tools/perplexity/main.cpp" helpers.cpp; do
    object=$(basename "$file" .cpp).o
    [ "$object" -nt "$file" ] || g++ -std=c++17 -O1 $include -c "$file" -o "$object"
done
g++ perplexity.o main.o helpers.o -o llama-perplexity "$library" -Wl,--allow-shlib-undefined -Wl,-z,lazy \
    -Wl,-rpath,"$(dirname "$library")" -Wl,--no-as-needed -L"$python_lib" -l"$python_name" -Wl,-rpath,"$python_lib" -lpthread
printf '%s' "The ferry left the harbour an hour late, and nobody on board seemed to mind. A clerk counted the passengers twice." > text.txt
./llama-perplexity -m "$here/llama31/model-bf16.gguf" -f text.txt -c 32 -b 32 --kl-divergence-base "$here/perplexity.kld"
