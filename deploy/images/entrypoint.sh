#!/bin/sh
# entrypoint.sh SERVICE: prints what starts this service in a container, where it is meant to be reached from outside.
package=$(echo "$1" | tr - _)
prefix=$(echo "$package" | tr a-z A-Z)
cat <<EOF
#!/bin/sh
export ${prefix}_HTTP_HOST="\${${prefix}_HTTP_HOST:-0.0.0.0}"
exec python -m $package "\$@"
EOF
