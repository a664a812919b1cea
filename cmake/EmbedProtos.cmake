# cmake -DROOT=dir -DPROTOS=a.proto;b.proto -DOUTPUT=file.cc -DHEADER=lib/x/y.h -DNAMESPACE=tocsin::x -DFUNCTION=Name
#   -P EmbedProtos.cmake
# The text of .proto files as C++: the function that HEADER declares as const std::vector<schema::SourceFile>& Name().
set(text "// Written by cmake/EmbedProtos.cmake.\n#include \"${HEADER}\"\n\n")
string(APPEND text "namespace ${NAMESPACE} {\n\n")
string(APPEND text "const std::vector<schema::SourceFile>& ${FUNCTION}() {\n")
string(APPEND text "  static const auto* const protos = new std::vector<schema::SourceFile>{\n")
foreach(proto IN LISTS PROTOS)
  file(READ "${ROOT}/${proto}" content)
  if(content MATCHES "\\)EMBEDDED\"")
    message(FATAL_ERROR "${proto} holds the end mark of the raw string that it would stand in")
  endif()
  string(APPEND text "      {\"${proto}\", R\"EMBEDDED(${content})EMBEDDED\"},\n")
endforeach()
string(APPEND text "  };\n  return *protos;\n}\n\n}  // namespace ${NAMESPACE}\n")
file(WRITE "${OUTPUT}" "${text}")
