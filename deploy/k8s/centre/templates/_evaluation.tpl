{{/* The servers of an evaluation: image, arguments, ports, probe and where the data lies. */}}
{{- define "imaging.evaluation" -}}
{{- $evaluation := .Values.evaluation -}}
kafka:
  image: {{ $evaluation.kafka.image }}
  writable: true
  data: /var/lib/kafka/data
  ports: {internal: 9092, edge: 9094}
  probe: {tcpSocket: {port: internal}}
  env:
    CLUSTER_ID: 5L6g3nShT-eMCtK--X86sw
    KAFKA_HEAP_OPTS: {{ $evaluation.kafka.heap }}
    KAFKA_NODE_ID: "1"
    KAFKA_PROCESS_ROLES: broker,controller
    KAFKA_CONTROLLER_QUORUM_VOTERS: 1@127.0.0.1:9093
    KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER
    KAFKA_LISTENERS: INTERNAL://:9092,EDGE://:9094,CONTROLLER://127.0.0.1:9093
    KAFKA_ADVERTISED_LISTENERS: INTERNAL://{{ include "imaging.name" (list . "kafka") }}:9092,EDGE://{{ include "imaging.edgeKafkaBootstrap" . }}
    KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: INTERNAL:SASL_PLAINTEXT,EDGE:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
    KAFKA_INTER_BROKER_LISTENER_NAME: INTERNAL
    KAFKA_SASL_ENABLED_MECHANISMS: PLAIN,SCRAM-SHA-512
    KAFKA_LISTENER_NAME_EDGE_SASL_ENABLED_MECHANISMS: SCRAM-SHA-512
    KAFKA_SASL_MECHANISM_INTER_BROKER_PROTOCOL: PLAIN
    KAFKA_LISTENER_NAME_INTERNAL_SCRAM___SHA___512_SASL_JAAS_CONFIG: org.apache.kafka.common.security.scram.ScramLoginModule required;
    KAFKA_LISTENER_NAME_EDGE_SCRAM___SHA___512_SASL_JAAS_CONFIG: org.apache.kafka.common.security.scram.ScramLoginModule required;
    KAFKA_AUTHORIZER_CLASS_NAME: org.apache.kafka.metadata.authorizer.StandardAuthorizer
    KAFKA_SUPER_USERS: User:admin;User:ANONYMOUS
    KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND: "false"
    KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false"
    KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: "0"
    KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1"
    KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS: "8"
    KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: "1"
    KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: "1"
    KAFKA_MESSAGE_MAX_BYTES: "8388608"
    KAFKA_LOG_DIRS: /var/lib/kafka/data/log
  secretEnv:
    KAFKA_LISTENER_NAME_INTERNAL_PLAIN_SASL_JAAS_CONFIG: kafka-jaas
mongodb:
  image: {{ $evaluation.mongodb.image }}
  uid: 999
  writable: true
  data: /data/db
  keyfile: true
  ports: {mongodb: 27017}
  probe: {tcpSocket: {port: mongodb}}
  # A key file that its group may read (as Secrets are mounted) is refused.
  command: [bash, -c]
  args:
    - >-
      install -m 0400 /etc/mongodb/keyfile /tmp/keyfile &&
      exec docker-entrypoint.sh mongod --replSet {{ .Values.mongodb.replicaSet }} --keyFile /tmp/keyfile --bind_ip_all
      --wiredTigerCacheSizeGB {{ $evaluation.mongodb.cacheGB }} --quiet
  env:
    MONGO_INITDB_ROOT_USERNAME: root
  secretEnv:
    MONGO_INITDB_ROOT_PASSWORD: mongodb-root
minio:
  image: {{ $evaluation.minio.image }}
  writable: true
  data: /data
  ports: {s3: 9000}
  probe: {httpGet: {path: /minio/health/live, port: s3}}
  args: [server, /data, --address, ":9000"]
  env:
    MINIO_ROOT_USER: root-user
    MINIO_BROWSER: "off"
    MINIO_UPDATE: "off"
    HOME: /tmp
  secretEnv:
    MINIO_ROOT_PASSWORD: minio-root
keycloak:
  image: {{ $evaluation.keycloak.image }}
  writable: true
  data: /opt/keycloak/data
  ports: {http: {{ $evaluation.keycloak.port }}, management: 9000}
  probe: {httpGet: {path: /health/ready, port: management}}
  args: [start-dev]
  env:
    KC_HTTP_PORT: {{ $evaluation.keycloak.port | quote }}
    KC_HOSTNAME: {{ include "imaging.keycloakUrl" . | quote }}
    KC_HEALTH_ENABLED: "true"
    KC_CACHE: local
    KC_BOOTSTRAP_ADMIN_USERNAME: admin
    JAVA_OPTS_APPEND: {{ $evaluation.keycloak.javaOptions | quote }}
  secretEnv:
    KC_BOOTSTRAP_ADMIN_PASSWORD: keycloak-admin
mailbox:
  image: {{ include "imaging.image" (list . "story") }}
  uid: 10001
  data: /var/lib/imaging-cloud
  ports: {smtp: 2525, http: 8080}
  probe: {httpGet: {path: /health/ready, port: http}}
  command: [python, -m, imaging_native.mailbox]
  env:
    MAILBOX_HOST: "0.0.0.0"
    MAILBOX_SMTP_PORT: "2525"
    MAILBOX_HTTP_PORT: "8080"
    MAILBOX_FOLDER: /var/lib/imaging-cloud/mailbox
  secretEnv:
    MAILBOX_SMS_TOKEN: sms-token
{{- end -}}
