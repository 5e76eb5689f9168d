MAIN=({cjpeg,cdjpeg,rdppm,rdbmp,rdgif,rdtarga,rdswitch}.c)
. "$GUESTS/catalogue/libjpeg.sh"
