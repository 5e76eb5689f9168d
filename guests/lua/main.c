/* The lua command for WASI: lua SCRIPT [ARGS...] or lua -e CODE. (The crate that Lua's sources come from leaves out lua.c, and
 * takes os.clock away; the latter is put back here.) */
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* what Lua's libraries want and WASI does not have: it fails, as the C standard lets it */
int system(const char *command) { return command ? -1 : 0; }
FILE *tmpfile(void) { return NULL; }

static int os_clock(lua_State *L) {
  lua_pushnumber(L, (lua_Number)clock() / (lua_Number)CLOCKS_PER_SEC);
  return 1;
}

static int traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  luaL_traceback(L, L, message ? message : "(error object is not a string)", 1);
  return 1;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if (!L || argc < 2) {
    fputs(L ? "usage: lua SCRIPT [ARGS...] | lua -e CODE\n" : "out of memory\n", stderr);
    return 1;
  }
  luaL_openlibs(L);
  lua_getglobal(L, "os");
  lua_pushcfunction(L, os_clock);
  lua_setfield(L, -2, "clock");
  lua_settop(L, 0);
  int code = strcmp(argv[1], "-e") == 0 && argc > 2;
  lua_createtable(L, argc, 0);
  for (int i = code ? 2 : 1; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - (code ? 2 : 1));
  }
  lua_setglobal(L, "arg");
  lua_pushcfunction(L, traceback);
  int status = code ? luaL_loadbuffer(L, argv[2], strlen(argv[2]), "=(command line)") : luaL_loadfile(L, argv[1]);
  if (status == LUA_OK) status = lua_pcall(L, 0, 0, 1);
  if (status != LUA_OK) fprintf(stderr, "lua: %s\n", lua_tostring(L, -1));
  lua_close(L);
  return status == LUA_OK ? 0 : 1;
}
