import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.util.Arrays;

/**
 * Runs the main method of another class, and halts the process when standard input closes.
 *
 * <p>The process that starts this one holds the other end of standard input, so nothing outlives it, however it ends.
 * Arguments: the class, then its own arguments.
 */
public final class UntilStdinCloses {
    private UntilStdinCloses() {
    }

    public static void main(String[] args) throws Throwable {
        Thread watch = new Thread(UntilStdinCloses::haltAtEndOfInput, "until-stdin-closes");
        watch.setDaemon(true);
        watch.start();
        try {
            Class.forName(args[0])
                .getMethod("main", String[].class)
                .invoke(null, (Object) Arrays.copyOfRange(args, 1, args.length));
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static void haltAtEndOfInput() {
        try {
            while (System.in.read() >= 0) {
                // What is written there means nothing; only the end counts.
            }
        } catch (IOException e) {
            // An unreadable standard input is a closed one.
        }
        Runtime.getRuntime().halt(1);
    }
}
