#!/bin/bash
# Compiles JavaMail.java once, and runs it: `javax` with JavaMail 1.6, `jakarta` with Jakarta Mail 2.0.
set -euo pipefail
package=${1:-javax}
export CLASSPATH=classes:/usr/share/java/javax.mail.jar:/usr/share/java/javax.activation.jar
[ "$package" = javax ] || CLASSPATH=classes:/usr/share/java/jakarta-mail.jar:/usr/share/java/jakarta-activation-2.0.0.jar
if [ ! -d classes ]; then
  mkdir -p source
  sed "s/PACKAGE/$package/" "$SCRIPTS/JavaMail.java" >source/JavaMail.java
  javac -J-XX:TieredStopAtLevel=1 -d classes source/JavaMail.java
fi
java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC JavaMail
