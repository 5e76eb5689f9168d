MAIN=({djpeg,cdjpeg,rdcolmap,wrppm,wrbmp,wrgif,wrtarga}.c)
. "$GUESTS/catalogue/libjpeg.sh"
